"""Many beats at once, some of them always dying, while people edit: no tick twice, and none missed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import pytest
import ticks
from beats import Beats
from chaos import any_seed, seeded
from django.db import connections
from figures import spread

from i3tasks_django.models import TaskSchedule, TaskScheduleTick
from i3tasks_django.store import database_now, edit
from processes import wait_until
from project import tasks

EDIT_EVERY = 0.4
"""Seconds between two edits, at most: of any one schedule about one in a tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Every schedule ticks once a second; half of them are edited all the time."""

    beats: int
    schedules: int
    seconds: float


QUICK = Scale(beats=4, schedules=10, seconds=10)
LONG = Scale(beats=8, schedules=20, seconds=60)


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(QUICK, id="quick"),
        pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
def test_no_tick_comes_twice_and_only_an_edit_takes_one_away(scale, services):
    with seeded(any_seed()) as dice:
        beats = Beats(services, dice, scale.beats)
        steady = [ticks.make_schedule(f"steady-{n}", tasks.log_sent) for n in range(scale.schedules // 2)]
        edited = [Edited(n) for n in range(scale.schedules // 2)]
        began, seed = database_now(), dice.random()

        with ThreadPoolExecutor(1) as hand, _set_at_the_end() as is_over:
            edits = hand.submit(edit_all_the_time, edited, random.Random(seed), is_over)
            while (database_now() - began).total_seconds() < scale.seconds:
                beats.let_them_work(1.0)
                beats.kill_some()
            is_over.set()
            edits.result(60)
        ended = database_now()
        wait_until(ticks.have_caught_up, 60, "every tick is fired")
        beats.end()

        ticks.each_tick_made_one_call()
        for row in steady:
            ticks.every_second_was_fired(row, until=ended)
        for schedule in edited:
            schedule.each_tick_belongs_to_the_version_of_its_time()
        _edits_hit_something(edited)
        print(_figures(beats, steady, edited))


class _set_at_the_end:  # noqa: N801 - reads as what it does
    """An event that is set whatever happens: the other thread would never end."""

    def __enter__(self) -> threading.Event:
        self._event = threading.Event()
        return self._event

    def __exit__(self, *_error: object) -> None:
        self._event.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What the row says from some moment between two on; the database's clock."""

    number: int
    began_at: datetime
    ended_at: datetime

    @property
    def cron(self) -> str:
        """Even versions tick in even seconds, odd ones in odd ones."""
        return f"* * * * * {self.number % 2}-59/2"


class Edited:
    """A schedule whose seconds and argument change from version to version.

    Attributes:
        versions: all of them, from the first on.
    """

    def __init__(self, number: int) -> None:
        now = database_now()
        first = Version(number=1, began_at=now, ended_at=now)
        self.versions = [first]
        self._row = ticks.make_schedule(f"edited-{number}", tasks.log_sent, "1", cron=first.cron)

    def edit(self) -> None:
        began_at, row = database_now(), TaskSchedule.objects.get(pk=self._row.pk)
        number = row.version + 1
        draft = Version(number=number, began_at=began_at, ended_at=began_at)
        assert edit(row, cron=draft.cron, task_args=[str(number)])
        self.versions.append(Version(number=number, began_at=began_at, ended_at=database_now()))

    def ticks(self) -> list[TaskScheduleTick]:
        return ticks.ticks_of(self._row)

    def each_tick_belongs_to_the_version_of_its_time(self) -> None:
        """None was planned before its version's edit began, or fired after the next one was committed."""
        for tick in self.ticks():
            assert tick.task_execution is not None
            number = int(tick.task_execution.task_args[0])
            what = f"{self._row}, version {number}, {tick.tick_at:%X}, fired {tick.fired_at}"
            assert tick.tick_at.second % 2 == number % 2, f"{what}: planned by another version"
            assert tick.tick_at > self.versions[number - 1].began_at, f"{what}: planned before the edit"
            for later in self.versions[number : number + 1]:
                assert tick.fired_at <= later.ended_at, f"{what}, but edited at {later.ended_at}"

    def taken_away(self) -> Iterator[datetime]:
        """Ticks that an edit came before, although their time had come."""
        fired = {tick.tick_at for tick in self.ticks()}
        for version, later in zip(self.versions, self.versions[1:], strict=False):
            planned = ticks.Cron(version.cron).following(version.ended_at)
            if planned <= later.began_at and planned not in fired:
                yield planned


def edit_all_the_time(edited: list[Edited], dice: random.Random, is_over: threading.Event) -> None:
    try:
        while not is_over.wait(dice.uniform(0, EDIT_EVERY)):
            dice.choice(edited).edit()
    finally:
        connections.close_all()


def _edits_hit_something(edited: list[Edited]) -> None:
    """Without which the test would have tried out nothing."""
    assert all(len(schedule.versions) > 1 for schedule in edited)
    assert any(schedule.ticks() for schedule in edited)


def _figures(beats: Beats, steady: list[TaskSchedule], edited: list[Edited]) -> str:
    fired = [tick for row in steady for tick in ticks.ticks_of(row)]
    edit_count = sum(len(schedule.versions) - 1 for schedule in edited)
    of_edited = sum(len(schedule.ticks()) for schedule in edited)
    taken_away = sum(len(list(schedule.taken_away())) for schedule in edited)
    return (
        f"{len(fired)} ticks of {len(steady)} unedited schedules, {beats.kill_count} kills, 0 twice, "
        f"0 missed, late {spread(ticks.lateness(fired))}; {edit_count} edits of {len(edited)} others, "
        f"which fired {of_edited} ticks and took {taken_away} away that were due"
    )
