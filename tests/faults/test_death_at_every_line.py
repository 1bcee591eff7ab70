"""A process dies at each line of the protocol; ``points.py`` says what must hold afterwards, line by line."""

from __future__ import annotations

import time
from pathlib import Path

import invariants
import pytest
from django.contrib.auth.models import Group
from oracle import Oracle
from points import Point, for_mode, work

import databases
import processes
from i3tasks_django.models import TaskExecution
from i3tasks_django.store import is_any_due
from processes import wait_until

QUEUES = {"push": "default", "pull": "heavy"}
PATIENCE = 60.0

QUICK = ("settle: the next step written", "claim: before")


class Cast:
    """The processes of one test, each replaced when it has died; what they die of is armed by name."""

    def __init__(self, services: processes.Stack, mode: str, folder: Path) -> None:
        self._services, self._mode, self._folder = services, mode, folder
        self._points = "\n".join(f"{name}={point.place}" for name, point in for_mode(mode).items())
        self._beat = self._start_beat()
        # gunicorn replaces its processes by itself.
        self._runner = self._start_receiver() if mode == "push" else self._start_worker()

    def arm(self, point: str, who: str) -> Path:
        mine = self._mines(who) / point
        mine.touch()
        return mine

    def replace_the_dead(self) -> None:
        if not self._beat.is_alive():
            self._beat = self._start_beat()
        if not self._runner.is_alive():
            self._runner = self._start_worker()

    def run_caller(self, path: Path) -> int:
        caller = self._services.start(
            "project.caller", str(path), QUEUES[self._mode], **self._environment("caller")
        )
        return caller.exit_code(PATIENCE)

    def _start_beat(self) -> processes.Process:
        return self._services.beat(**self._environment("beat"))

    def _start_worker(self) -> processes.Process:
        return self._services.worker(**self._environment("runner"))

    def _start_receiver(self) -> processes.Process:
        return self._services.receiver(**self._environment("runner"))

    def _environment(self, who: str) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "project.dying_settings",
            "TEST_POINTS": self._points,
            "TEST_MINES": str(self._mines(who)),
        }

    def _mines(self, who: str) -> Path:
        mines = self._folder / who
        mines.mkdir(exist_ok=True)
        return mines


@pytest.fixture
def cast(two_ways: processes.Stack, mode: str, tmp_path: Path) -> Cast:
    return Cast(two_ways, mode, tmp_path)


@pytest.mark.parametrize(("database", "mode"), [("postgresql", "pull"), ("sqlite", "push")], indirect=True)
def test_death_at_some_lines_costs_what_it_must_and_no_more(cast, mode, tmp_path):
    for name in QUICK:
        die_at(name, for_mode(mode)[name], cast, mode, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_death_at_every_line_costs_what_it_must_and_no_more(cast, mode, database, tmp_path):
    seconds: list[float] = []
    failures: list[Exception] = []
    for name, point in for_mode(mode).items():
        try:
            seconds.append(die_at(name, point, cast, mode, tmp_path))
        except AssertionError as error:
            error.add_note(f"died at {name!r}")
            failures.append(error)
    print(
        f"{mode}, {database.vendor}: dead at {len(seconds)} lines, {len(failures)} of them with a fault; "
        f"from death to the last end at most {max(seconds, default=0):.1f} s"
    )
    if failures:
        raise ExceptionGroup("what must hold does not", failures)


def die_at(name: str, point: Point, cast: Cast, mode: str, folder: Path) -> float:
    """Seconds from the death to the end of everything."""
    databases.clear()
    oracle = Oracle(folder / f"oracle-{name}")
    oracle.path.touch()
    mine = cast.arm(name, point.who)
    if point.who == "caller":
        assert cast.run_caller(oracle.path) == 137
    else:
        work(point.work, str(oracle.path), QUEUES[mode])

    def was_reached() -> bool:
        cast.replace_the_dead()  # who died just now, at the line before this one
        return not mine.exists()

    wait_until(was_reached, PATIENCE, f"somebody comes to {name!r}")
    died_at = time.monotonic()

    def has_ended() -> bool:
        cast.replace_the_dead()
        # In this order: a tick is due until its call is there.
        return not is_any_due() and not TaskExecution.objects.filter(state="pending").exists()

    wait_until(has_ended, PATIENCE, f"everything ends after a death at {name!r}")
    _check(point, oracle)
    return time.monotonic() - died_at


def _check(point: Point, oracle: Oracle) -> None:
    rows, runs = invariants.Rows(), oracle.read()
    most_lost, may_fail = int(point.lost is None), point.work == "stumble"
    invariants.check(rows, runs, most_lost=most_lost, may_fail=may_fail)
    states = [attempt.state for attempts in rows.tries.values() for attempt in attempts]
    assert len(rows.executions) == point.calls
    if point.lost is not None:
        assert (states.count("lost"), len(runs.starts)) == (point.lost, point.runs), "tries lost, runs"
    if point.who == "caller":
        assert Group.objects.count() == (point.calls > 0), "the calls are not as the caller's own row"
