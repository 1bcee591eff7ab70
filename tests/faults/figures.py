"""One line at the end of a fault test: how much ran, how much was hit, how long it took to come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from chaos import Kill
from invariants import Rows
from oracle import Runs

from i3tasks_django.models import TaskExecutionTry


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a test that kills came to.

    Attributes:
        lost_count: calls that have not ended.
        twice_count: calls that succeeded more than once.
        duplicate_count: runs beyond the first of their call.
        unprovoked_count: tries given up although nobody had killed their worker: it was too slow.
        recoveries: seconds from each kill until what the killed process held began to run again, ordered.
        given_up: seconds from each kill until its tries were given up, which is a part of that, ordered.
        longest_wait: from the moment any try was asked for to its start: also what nobody rang for.
    """

    task_count: int
    kill_count: int
    lost_count: int
    twice_count: int
    duplicate_count: int
    unprovoked_count: int
    recoveries: list[float]
    given_up: list[float]
    longest_wait: float

    @property
    def p99(self) -> float:
        return _at(self.recoveries, 99)

    @property
    def most(self) -> float:
        return _at(self.recoveries, 100)

    def __str__(self) -> str:
        return (
            f"{self.task_count:,} tasks, {self.kill_count} kills, {self.lost_count} lost, "
            f"{self.twice_count} completed twice, {self.duplicate_count} duplicate runs; "
            f"recovery {spread(self.recoveries)} of {len(self.recoveries)} tries that the killed held, "
            f"which were given up after {spread(self.given_up)} "
            f"({self.unprovoked_count} lost without a kill); "
            f"longest wait of any try {self.longest_wait:.1f} s"
        )


def figures(rows: Rows, runs: Runs, kills: list[Kill]) -> Figures:
    successes = [[a.state for a in attempts].count("success") for attempts in rows.tries.values()]
    return Figures(
        task_count=len(rows.executions),
        kill_count=len(kills),
        lost_count=sum(row.finished_at is None for row in rows.executions.values()),
        twice_count=sum(count > 1 for count in successes),
        duplicate_count=len(runs.starts) - len(runs.first_start),
        unprovoked_count=_lost_without_a_kill(rows, kills),
        recoveries=sorted(_seconds(rows, kills, until=lambda _, after: after.started_at)),
        given_up=sorted(_seconds(rows, kills, until=lambda lost, _: lost.finished_at)),
        longest_wait=_longest_wait(rows),
    )


def _lost_without_a_kill(rows: Rows, kills: list[Kill]) -> int:
    killed = {str(kill.pid) for kill in kills}
    return sum(a.state == "lost" and _pid(a) not in killed for tries in rows.tries.values() for a in tries)


def _seconds(
    rows: Rows, kills: list[Kill], until: Callable[[TaskExecutionTry, TaskExecutionTry], datetime]
) -> list[float]:
    """From each kill to a moment of each try that it cost, or of the try after that."""
    killed_at = {str(kill.pid): kill.at for kill in kills}
    return [
        (until(lost, after) - killed_at[_pid(lost)]).total_seconds()
        for attempts in rows.tries.values()
        for lost, after in pairwise(attempts)
        if lost.state == "lost" and _pid(lost) in killed_at
    ]


def _longest_wait(rows: Rows) -> float:
    started = [a for tries in rows.tries.values() for a in tries if a.started_at is not None]
    return max((a.started_at - max(a.asked_at, a.run_after or a.asked_at)).total_seconds() for a in started)


def _pid(attempt: TaskExecutionTry) -> str:
    return attempt.worker.rpartition(":")[2]


def spread(seconds: list[float]) -> str:
    """Of some durations: the middle, what one in a hundred exceeds, and the longest."""
    if not seconds:
        return "of nothing"
    ordered = sorted(seconds)
    return f"p50 {_at(ordered, 50):.1f} s, p99 {_at(ordered, 99):.1f} s, max {ordered[-1]:.1f} s"


def _at(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
