"""TICK: whoever moves a schedule on to its next tick fires the one it stood at, in the same transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from i3tasks_core.states import ExecutionState
from i3tasks_django.models import TaskSchedule, TaskScheduleTick
from i3tasks_django.store.database import alias, database_now, free_of_locks

LAST_TICKS = 10
"""Of so many a schedule's run may still be under way; a person's call at once is one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSchedule:
    """A schedule whose time has come, and the database's clock when it was read."""

    row: TaskSchedule
    now: datetime


def is_any_due(without: Collection[int] = ()) -> bool:
    """Whether there is anything to fire: most passes find nothing, and need no transaction to see it."""
    return _due(without).exists()


def due_schedules(limit: int, without: Collection[int] = ()) -> list[DueSchedule]:
    """Those that are due and that no other beat has in hand; locked until the caller's transaction ends."""
    rows: Any = free_of_locks(_due(without).annotate(read_at=Now()).order_by("next_run_at"))
    return [DueSchedule(row=row, now=row.read_at) for row in rows[:limit]]


def _due(without: Collection[int]) -> QuerySet[TaskSchedule]:
    found = TaskSchedule.objects.using(alias()).filter(is_enabled=True, next_run_at__lte=Now())
    return found.exclude(pk__in=without) if without else found


def move_on(row: TaskSchedule, following: datetime) -> bool:
    """Take the schedule from the tick it stands at to another, unless somebody has done so or edited it."""
    changed = (
        TaskSchedule.objects.using(alias())
        .filter(pk=row.pk, next_run_at=row.next_run_at, version=row.version, is_enabled=True)
        .update(next_run_at=following)
    )
    return changed == 1


def is_running(row: TaskSchedule) -> bool:
    """Whether the call of one of the last ticks has not ended."""
    ticks = TaskScheduleTick.objects.using(alias()).filter(schedule=row).order_by("-tick_at")
    return ExecutionState.PENDING in ticks.values_list("task_execution__state", flat=True)[:LAST_TICKS]


def free_moment(row: TaskSchedule) -> datetime:
    """Now, or just after the schedule's last tick if that was no earlier: for a call at once."""
    last = TaskScheduleTick.objects.using(alias()).filter(schedule=row).order_by("-tick_at").first()
    now = database_now()
    return now if last is None or last.tick_at < now else last.tick_at + timedelta(microseconds=1)


def fired_already(ticks: Collection[tuple[int, datetime]]) -> set[tuple[int, datetime]]:
    """Those of these ticks that have been fired before: a clock may have been put back."""
    found = TaskScheduleTick.objects.using(alias()).filter(
        schedule__in={schedule for schedule, _ in ticks}, tick_at__gte=min(tick_at for _, tick_at in ticks)
    )
    return set(found.values_list("schedule_id", "tick_at"))


def record_ticks(fired: Sequence[tuple[int, datetime, UUID]]) -> None:
    """Note which tick of which schedule made which call; a tick that is there already is an error."""
    TaskScheduleTick.objects.using(alias()).bulk_create(
        TaskScheduleTick(schedule_id=schedule, tick_at=tick_at, task_execution_id=execution)
        for schedule, tick_at, execution in fired
    )
