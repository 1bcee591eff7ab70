"""One line at the end of a fault test: how much ran, how much was hit, how long it took to come back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

from chaos import Kill
from invariants import Rows
from oracle import Runs

from i3tasks_django.models import TaskExecutionTry


def figures(rows: Rows, runs: Runs, kills: list[Kill]) -> str:
    states = [attempt.state for attempts in rows.tries.values() for attempt in attempts]
    successes = [[a.state for a in attempts].count("success") for attempts in rows.tries.values()]
    given_up = spread(_seconds(rows, kills, until=lambda lost, _: lost.finished_at))
    run_again = spread(_seconds(rows, kills, until=lambda _, after: after.started_at))
    return (
        f"{len(rows.executions):,} tasks, {len(kills)} kills, {states.count('lost')} tries lost "
        f"({_lost_without_a_kill(rows, kills)} of them without a kill), "
        f"{sum(count > 1 for count in successes)} completed twice, "
        f"{len(runs.starts) - len(runs.first_start)} duplicate runs; after a kill given up {given_up}, "
        f"run again {run_again}; longest wait of any try {_longest_wait(rows):.1f} s"
    )


def _lost_without_a_kill(rows: Rows, kills: list[Kill]) -> int:
    """Tries whose worker lived and was too slow to renew its lease."""
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
    """From the moment a try was asked for to its start: also what nobody rang for, or rang for in vain."""
    started = [a for tries in rows.tries.values() for a in tries if a.started_at is not None]
    return max((a.started_at - max(a.asked_at, a.run_after or a.asked_at)).total_seconds() for a in started)


def _pid(attempt: TaskExecutionTry) -> str:
    return attempt.worker.rpartition(":")[2]


def spread(seconds: list[float]) -> str:
    """Of some durations: the middle, what one in a hundred exceeds, and the longest."""
    if not seconds:
        return "of nothing"
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"p50 {p50:.1f} s, p99 {p99:.1f} s, max {ordered[-1]:.1f} s"
