"""All beats die again and again while delayed tries and ticks fall due: everything runs, and once."""

from __future__ import annotations

import random
import statistics
from bisect import bisect
from dataclasses import dataclass
from datetime import datetime, timedelta

import invariants
import pytest
import ticks
from beats import Beats
from chaos import any_seed, seeded
from django.db import transaction
from django.db.models import Q
from figures import spread
from oracle import Oracle

from i3tasks_core.config import Misfire
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskSchedule
from i3tasks_django.store import database_now
from processes import wait_until
from project.fault_tasks import leave_a_trace

WORK = 2.0
"""Seconds that the beats have between two deaths, at most; their first pass comes after one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How often both beats die, and what falls due meanwhile.

    Attributes:
        seconds: over which the delayed tries are spread; some more ticks come while the last kills last.
        spares_a_minute: what a beat has reserved when it dies is rung for as soon as nothing else is left
            to do, and not when the relay asks about it: tests end sooner, and the figures say less.
    """

    kills: int
    delayed: int
    schedules: int
    seconds: float
    spares_a_minute: bool

    @property
    def labels(self) -> list[str]:
        return [f"delayed-{number}" for number in range(self.delayed)]


QUICK = Scale(kills=5, delayed=150, schedules=4, seconds=12, spares_a_minute=True)
LONG = Scale(kills=30, delayed=1_000, schedules=2, seconds=100, spares_a_minute=False)

PATIENCE = 95
"""A beat that dies after it has reserved a batch and before it rings costs the batch the relay's minute."""

GENEROUS = 20.0
"""Seconds after which half of the tries that were rung for must have begun; the real figures are printed."""


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(QUICK, id="quick"),
        pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(900)]),
    ],
)
def test_what_falls_due_while_every_beat_dies_runs_once(scale, services, oracle):
    # Nobody dies here with a try in hand: with the usual lease nothing is lost by being slow.
    services.environment["TEST_LEASE_SECONDS"] = "60"
    with seeded(any_seed()) as dice:
        services.worker()
        beats = Beats(services, dice, 2)
        rows = make_schedules(scale, oracle)
        call_later(scale, oracle, dice)
        began = database_now()
        for _ in range(scale.kills):
            beats.let_them_work(WORK)
            beats.kill_all()
        until = max(database_now(), began + timedelta(seconds=scale.seconds))
        wait_until(lambda: database_now() > until and ticks.have_caught_up(), PATIENCE, "every tick is fired")
        TaskSchedule.objects.update(is_enabled=False)
        wait_until(lambda: is_idle() or has_ended(), PATIENCE, "the worker has done what was rung for")
        if scale.spares_a_minute:
            ring_for_what_waits()
        wait_until(has_ended, PATIENCE, "everything ends")
        beats.end()

        delayed = list(TaskExecutionTry.objects.filter(task_execution__task_args__1__startswith="delayed-"))
        ticks.each_tick_made_one_call(others=[attempt.task_execution_id for attempt in delayed])
        for row in rows:
            ticks.every_second_was_fired(row, until)
        invariants.check(invariants.Rows(), oracle.read(), most_lost=0)
        assert sorted(line.label for line in oracle.read().starts if "delayed" in line.label) == sorted(
            scale.labels
        )
        print(_figures(beats, rows, delayed))
        assert min(late(delayed)) >= 0
        assert statistics.median(since_a_beat_was_there(delayed, beats.back_at) or [0.0]) < GENEROUS


def make_schedules(scale: Scale, oracle: Oracle) -> list[TaskSchedule]:
    """Whoever starts slowly may leave ticks for later than a beat's restart takes: all of them come."""
    return [
        ticks.make_schedule(f"tick-{n}", leave_a_trace, str(oracle.path), f"tick-{n}", misfire=Misfire.ALL)
        for n in range(scale.schedules)
    ]


def call_later(scale: Scale, oracle: Oracle, dice: random.Random) -> None:
    with transaction.atomic():
        for label in scale.labels:
            delay = dice.uniform(0.5, scale.seconds)
            leave_a_trace.using(run_after=delay).delay(str(oracle.path), label)


def has_ended() -> bool:
    return not TaskExecution.objects.filter(state="pending").exists()


def is_idle() -> bool:
    """Whether nothing has begun for three seconds."""
    recent = database_now() - timedelta(seconds=3)
    return not TaskExecutionTry.objects.filter(Q(state="running") | Q(started_at__gt=recent)).exists()


def ring_for_what_waits() -> None:
    TaskExecutionTry.objects.filter(state="pending").update(next_publish_at=database_now())


def _figures(beats: Beats, rows: list[TaskSchedule], delayed: list[TaskExecutionTry]) -> str:
    fired = [tick for row in rows for tick in ticks.ticks_of(row)]
    again = [attempt for attempt in delayed if attempt.publish_count > 1]
    return (
        f"{beats.kill_count} kills, {len(delayed)} delayed tries and {len(fired)} ticks, each once; "
        f"delay error {spread(since_a_beat_was_there(delayed, beats.back_at))} since a beat was there, "
        f"{spread(late(delayed))} with the time without one; {len(again)} tries were reserved by a beat that "
        f"died before it rang: {spread(late(again))}; ticks late {spread(ticks.lateness(fired))}"
    )


def late(delayed: list[TaskExecutionTry]) -> list[float]:
    return [(attempt.started_at - attempt.run_after).total_seconds() for attempt in delayed]


def since_a_beat_was_there(delayed: list[TaskExecutionTry], back_at: list[datetime]) -> list[float]:
    """Seconds to the start from the moment a try was due and the beat was there that rang for it; only of
    those that no other beat had reserved before."""
    return [
        (attempt.started_at - max([attempt.run_after, *_before(attempt.started_at, back_at)])).total_seconds()
        for attempt in delayed
        if attempt.publish_count == 1
    ]


def _before(moment: datetime, moments: list[datetime]) -> list[datetime]:
    return moments[: bisect(moments, moment)]
