"""The hand that deletes what CLEAN has found, and the one that only keeps account of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import models
from django.db.models import Count, Exists, OuterRef, QuerySet

from i3tasks_django.models import TaskExecution, TaskGroup, TaskScheduleTick
from i3tasks_django.store.database import (
    alias,
    as_uuid,
    connection,
    dialect,
    free_of_locks,
    placeholders,
    rows,
)

Row = TypeVar("Row", bound=models.Model)
Stage = type[TaskExecution] | type[TaskGroup]

STAGES: tuple[Stage, ...] = (TaskExecution, TaskGroup)


class Broom:
    """Deletes, each time within the caller's transaction.

    Args:
        older_than: what ended later than this ago is let be, whatever it is told.
    """

    def __init__(self, older_than: timedelta) -> None:
        self._seconds = -older_than.total_seconds()

    def lock(self, found: QuerySet[Row]) -> QuerySet[Row]:
        """Those that nobody has locked; they are ours until the transaction ends."""
        return free_of_locks(found.order_by("pk"))

    def without_members(self, groups: Collection[UUID]) -> set[UUID]:
        found = TaskGroup.objects.using(alias()).filter(pk__in=groups)
        for stage in STAGES:
            found = found.exclude(Exists(stage.objects.filter(task_group=OuterRef("pk"))))
        return set(found.values_list("pk", flat=True))

    def drop_executions(self, pks: Collection[UUID]) -> Counter[str]:
        """The executions first, by the guard in the WHERE: their tries only go if that has let them go.

        The foreign keys are looked at when the transaction commits.

        Returns:
            How many, by state.
        """
        dropped = {as_uuid(pk): state for pk, state in self._delete_ended(_DELETE_EXECUTIONS, pks)}
        if dropped:
            _unlink("chained_from", dropped)
            TaskScheduleTick.objects.using(alias()).filter(task_execution__in=dropped).update(
                task_execution=None
            )
            _delete(_DELETE_RESULTS, map(dialect().uuid, dropped))
            _delete(_DELETE_TRIES, map(dialect().uuid, dropped))
        return Counter(dropped.values())

    def drop_groups(self, pks: Collection[UUID]) -> int:
        dropped = [as_uuid(pk) for (pk,) in self._delete_ended(_DELETE_GROUPS, pks)]
        _unlink("joins_group", dropped)
        return len(dropped)

    def drop_ticks(self, pks: Collection[int]) -> int:
        _delete(_DELETE_TICKS, pks)
        return len(pks)

    def _delete_ended(self, sql: str, pks: Collection[UUID]) -> list[tuple[Any, ...]]:
        if not pks:
            return []
        words = dialect()
        ordered = [words.uuid(pk) for pk in sorted(pks)]
        return rows(sql.format(ids=placeholders(len(pks)), cutoff=words.later), [*ordered, self._seconds])


class Account(Broom):
    """Locks and writes nothing: it remembers what would be gone by now."""

    def __init__(self, older_than: timedelta) -> None:
        super().__init__(older_than)
        self._gone: dict[Stage, Counter[UUID]] = {stage: Counter() for stage in STAGES}

    def lock(self, found: QuerySet[Row]) -> QuerySet[Row]:
        return found.order_by("pk")

    def without_members(self, groups: Collection[UUID]) -> set[UUID]:
        empty = set(groups)
        for stage, gone in self._gone.items():
            members = stage.objects.using(alias()).filter(task_group__in=groups)
            counted = members.values_list("task_group").annotate(Count("pk")).order_by()
            empty -= {group for group, count in counted if count > gone[group]}
        return empty

    def drop_executions(self, pks: Collection[UUID]) -> Counter[str]:
        dropped = TaskExecution.objects.using(alias()).filter(pk__in=pks)
        found = list(dropped.values_list("state", "task_group_id"))
        self._gone[TaskExecution].update(filter(None, (group for _, group in found)))
        return Counter(state for state, _ in found)

    def drop_groups(self, pks: Collection[UUID]) -> int:
        outer = TaskGroup.objects.using(alias()).filter(pk__in=pks).values_list("task_group_id", flat=True)
        self._gone[TaskGroup].update(filter(None, outer))
        return len(pks)

    def drop_ticks(self, pks: Collection[int]) -> int:
        return len(pks)


def _unlink(link: str, gone: Collection[UUID]) -> None:
    """What followed and stays follows nothing any more."""
    for stage in STAGES:
        stage.objects.using(alias()).filter(**{f"{link}__in": gone}).update(**{link: None})


def _delete(sql: str, ids: Iterable[Any]) -> None:
    if params := list(ids):
        with connection().cursor() as cursor:
            cursor.execute(sql.format(ids=placeholders(len(params))), params)


_DELETE_EXECUTIONS = """
DELETE FROM i3tasks_django_taskexecution
WHERE id IN ({ids}) AND state <> 'pending' AND finished_at < {cutoff}
RETURNING id, state
"""

_DELETE_GROUPS = """
DELETE FROM i3tasks_django_taskgroup WHERE id IN ({ids}) AND finished_at < {cutoff} RETURNING id
"""

_DELETE_RESULTS = """
DELETE FROM i3tasks_django_taskexecutionresult WHERE task_execution_try_id IN (
    SELECT id FROM i3tasks_django_taskexecutiontry WHERE task_execution_id IN ({ids}))
"""

_DELETE_TRIES = "DELETE FROM i3tasks_django_taskexecutiontry WHERE task_execution_id IN ({ids})"

_DELETE_TICKS = "DELETE FROM i3tasks_django_taskscheduletick WHERE id IN ({ids})"
