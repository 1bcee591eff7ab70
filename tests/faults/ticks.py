"""Schedules as somebody makes them in the admin, and what must be true of their ticks in the end.

I6: each tick once, and each tick one call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from i3tasks_core.config import Misfire
from i3tasks_core.schedule import Cron
from i3tasks_django import Task
from i3tasks_django.models import TaskExecution, TaskSchedule, TaskScheduleTick
from i3tasks_django.store import database_now

EVERY_SECOND = "* * * * * *"
SECOND = timedelta(seconds=1)


def make_schedule(
    key: str, task: Task[..., Any], *args: Any, cron: str = EVERY_SECOND, misfire: Misfire = Misfire.LATEST
) -> TaskSchedule:
    """A row whose first tick is the next one, on the queue ``heavy``."""
    return TaskSchedule.objects.create(
        key=key,
        task_path=task.definition.path,
        task_name=task.definition.name,
        task_args=list(args),
        queue_name="heavy",
        cron=cron,
        timezone="UTC",
        misfire=misfire.value,
        next_run_at=Cron(cron).following(database_now()),
    )


def ticks_of(row: TaskSchedule) -> list[TaskScheduleTick]:
    """In the order of their instants, each with its call."""
    return list(row.ticks.select_related("task_execution").order_by("tick_at"))


def have_caught_up() -> bool:
    """Whether every tick is fired whose time has come."""
    return not TaskSchedule.objects.filter(next_run_at__lte=database_now(), is_enabled=True).exists()


def lateness(fired: Iterable[TaskScheduleTick]) -> list[float]:
    """Seconds from each tick's instant to its call."""
    return [(tick.fired_at - tick.tick_at).total_seconds() for tick in fired]


def each_tick_made_one_call(others: Iterable[Any] = ()) -> None:
    """The unique constraint keeps a second row out; a call that no row stands for would be the double.

    Args:
        others: ids of the calls that the test has made itself.
    """
    ticks = Counter(TaskScheduleTick.objects.values_list("schedule", "tick_at"))
    assert [tick for tick, count in ticks.items() if count > 1] == []
    calls = Counter(TaskScheduleTick.objects.values_list("task_execution", flat=True))
    assert calls.total() == len(calls), "two ticks stand for one call"
    assert set(calls) == set(TaskExecution.objects.values_list("pk", flat=True)) - set(others)


def every_second_was_fired(row: TaskSchedule, until: datetime) -> None:
    """Of a schedule that nobody edited: from its first tick on, and up to some moment at least."""
    instants = [tick.tick_at for tick in ticks_of(row)]
    gaps = [(a, b) for a, b in pairwise(instants) if b - a != SECOND]
    assert gaps == [], f"{row}: something is missing, or too much, between {gaps}"
    assert instants[0] == row.next_run_at, f"{row} was made for {row.next_run_at}: its first is {instants[0]}"
    assert instants[-1] > until - SECOND, f"{row} ended at {instants[-1]}, not at {until}"
