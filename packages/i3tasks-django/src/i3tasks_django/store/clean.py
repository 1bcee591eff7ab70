"""CLEAN: delete what ended long ago, in small batches, unless something live may still ask about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import models, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from i3tasks_core.identifiers import uuid7_at
from i3tasks_core.states import ExecutionState
from i3tasks_django.models import TaskExecution, TaskGroup, TaskScheduleTick
from i3tasks_django.store.database import (
    alias,
    as_uuid,
    connection,
    dialect,
    free_of_locks,
    placeholders,
    resilient,
    rows,
)

BATCH = 500

Row = TypeVar("Row", bound=models.Model)
Stage = type[TaskExecution] | type[TaskGroup]

_PENDING = Q(state=ExecutionState.PENDING)
_LIVE: tuple[tuple[Stage, Q], ...] = ((TaskExecution, _PENDING), (TaskGroup, Q(finished_at=None)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What was deleted, or would have been.

    Attributes:
        executions: how many, by state.
    """

    executions: Counter[str] = field(default_factory=Counter)
    group_count: int = 0
    tick_count: int = 0

    def __add__(self, other: Cleaned) -> Cleaned:
        return Cleaned(
            executions=self.executions + other.executions,
            group_count=self.group_count + other.group_count,
            tick_count=self.tick_count + other.tick_count,
        )

    @property
    def count(self) -> int:
        return self.executions.total() + self.group_count + self.tick_count


def clean(
    older_than: timedelta, *, batch_size: int = BATCH, dry_run: bool = False, patience: float = 4.0
) -> Iterator[Cleaned]:
    """Delete executions and groups that ended, and ticks that fired, longer ago than that.

    What stays all the same: whatever is pending; a group that is waited for, or that something pending
    follows, with all its members; an execution that something pending follows; the last tick of a schedule;
    and what somebody else has locked.

    With nothing to delete this is one look at the ends of three primary keys, however many rows there are:
    an id tells when its row was made.

    Args:
        older_than: by the database's clock.
        batch_size: rows to look at in one transaction.
        dry_run: only count.
        patience: seconds to go on trying while the database is away.

    Yields:
        What a batch came to, which may be nothing: so the caller can stop after any of them.
    """
    sweep = (_Count if dry_run else _Sweep)(older_than, batch_size, patience)
    return sweep.batches()


class _Sweep:
    def __init__(self, older_than: timedelta, batch_size: int, patience: float) -> None:
        self._batch_size, self._patience = batch_size, patience
        self._bound = uuid7_at(datetime.now(UTC) - older_than)
        self._seconds = -older_than.total_seconds()
        # What is pending has no end: it is never old.
        self._ended = Q(finished_at__isnull=False, finished_at__lt=Now() - older_than)
        self._fired = Q(fired_at__lt=Now() - older_than)

    def batches(self) -> Iterator[Cleaned]:
        executions, groups, ticks = self._has_old()
        # Members before their groups, and a group before the one it is a member of.
        if executions:
            yield from self._executions()
        if groups:
            yield from self._groups()
        if ticks:
            yield from self._ticks()

    def _has_old(self) -> tuple[bool, ...]:
        bound = dialect().uuid(self._bound)
        sql = _HAS_OLD.format(cutoff=dialect().later)
        ((execution, group, is_tick_old),) = rows(sql, [bound, bound, self._seconds])
        return execution is not None, group is not None, bool(is_tick_old)

    def _executions(self) -> Iterator[Cleaned]:
        last = UUID(int=0)
        executions = TaskExecution.objects.using(alias()).filter(pk__lt=self._bound).order_by("pk")
        while page := self._page(executions.filter(pk__gt=last), self._ended):
            last = page[-1][0]
            yield Cleaned(executions=self._write(page, self._clean_executions, Counter()))

    def _groups(self) -> Iterator[Cleaned]:
        last = self._bound
        groups = TaskGroup.objects.using(alias()).order_by("-pk")
        while page := self._page(groups.filter(pk__lt=last), self._ended):
            last = page[-1][0]
            yield Cleaned(group_count=self._write(page, self._clean_groups, 0))

    def _ticks(self) -> Iterator[Cleaned]:
        last, has_old = 0, True
        ticks = TaskScheduleTick.objects.using(alias()).order_by("pk")
        while has_old and (page := self._page(ticks.filter(pk__gt=last), self._fired)):
            last, has_old = page[-1][0], any(is_old for _, is_old in page)
            yield Cleaned(tick_count=self._write(page, self._clean_ticks, 0))

    def _page(self, found: QuerySet[Row], is_old: Q) -> list[tuple[Any, bool]]:
        """The next rows, and which of them are old enough: by id, for their age has no index."""
        return list(found.annotate(is_old=is_old).values_list("pk", "is_old")[: self._batch_size])

    def _write(self, page: list[tuple[Any, bool]], action: Callable[[list[Any]], Any], nothing: Any) -> Any:
        old = sorted(pk for pk, is_old in page if is_old)

        def write() -> Any:
            with transaction.atomic(using=alias(), durable=True):
                return action(old)

        return resilient("clean", write, self._patience) if old else nothing

    def _clean_executions(self, pks: list[UUID]) -> Counter[str]:
        old = TaskExecution.objects.using(alias()).filter(self._ended, pk__in=pks)
        members = dict(self._lock(old).values_list("pk", "task_group_id"))
        held = self._held(set(filter(None, members.values())))
        free = {pk for pk, group in members.items() if group not in held}
        return self._drop_executions(free - self._followed("chained_from", free))

    def _clean_groups(self, pks: list[UUID]) -> int:
        old = TaskGroup.objects.using(alias()).filter(self._ended, pk__in=pks)
        free = set(self._lock(old).values_list("pk", flat=True))
        free -= self._held(free)
        free -= self._followed("joins_group", free)
        count = 0
        while empty := self._without_members(free):
            count += self._drop_groups(empty)
            free -= empty
        return count

    def _clean_ticks(self, pks: list[int]) -> int:
        ticks = TaskScheduleTick.objects.using(alias())
        later = ticks.filter(schedule=OuterRef("schedule"), tick_at__gt=OuterRef("tick_at"))
        pending = TaskExecution.objects.filter(_PENDING, pk=OuterRef("task_execution_id"))
        old = ticks.filter(self._fired, Exists(later), ~Exists(pending), pk__in=pks)
        return self._drop_ticks(list(self._lock(old).values_list("pk", flat=True)))

    def _lock(self, found: QuerySet[Row]) -> QuerySet[Row]:
        return free_of_locks(found.order_by("pk"))

    def _held(self, groups: Collection[UUID]) -> set[UUID]:
        """Those of these groups that somebody may still ask about, or about one that they are part of."""
        if not groups:
            return set()
        words = dialect()
        sql = _HELD.format(groups=placeholders(len(groups)), cutoff=words.later)
        return {as_uuid(pk) for (pk,) in rows(sql, [*map(words.uuid, groups), self._seconds])}

    def _followed(self, link: str, ended: Collection[UUID]) -> set[UUID]:
        """Those of these that something live, or locked, follows; locks what else follows them.

        A person may reopen a follower at this very moment; and until we commit nobody can.
        """
        followed: set[UUID] = set()
        for stage, live in _LIVE:
            after = stage.objects.using(alias()).filter(**{f"{link}__in": ended})
            if followers := dict(after.values_list("pk", f"{link}_id")):
                found = stage.objects.using(alias()).filter(pk__in=followers).exclude(live)
                free = set(self._lock(found).values_list("pk", flat=True))
                followed |= {before for pk, before in followers.items() if pk not in free}
        return followed

    def _without_members(self, groups: Collection[UUID]) -> set[UUID]:
        found = TaskGroup.objects.using(alias()).filter(pk__in=groups)
        for stage, _ in _LIVE:
            found = found.exclude(Exists(stage.objects.filter(task_group=OuterRef("pk"))))
        return set(found.values_list("pk", flat=True))

    def _drop_executions(self, pks: Collection[UUID]) -> Counter[str]:
        """The executions first, by the guard in the WHERE: their tries only go if that has let them go.

        The foreign keys are looked at when the transaction commits.
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

    def _drop_groups(self, pks: Collection[UUID]) -> int:
        dropped = [as_uuid(pk) for (pk,) in self._delete_ended(_DELETE_GROUPS, pks)]
        _unlink("joins_group", dropped)
        return len(dropped)

    def _drop_ticks(self, pks: Collection[int]) -> int:
        _delete(_DELETE_TICKS, pks)
        return len(pks)

    def _delete_ended(self, sql: str, pks: Collection[UUID]) -> list[tuple[Any, ...]]:
        if not pks:
            return []
        words = dialect()
        ordered = [words.uuid(pk) for pk in sorted(pks)]
        return rows(sql.format(ids=placeholders(len(pks)), cutoff=words.later), [*ordered, self._seconds])


class _Count(_Sweep):
    """The same walk without a lock and without a write: it keeps account of what would be gone by now."""

    def __init__(self, older_than: timedelta, batch_size: int, patience: float) -> None:
        super().__init__(older_than, batch_size, patience)
        self._gone: dict[Stage, Counter[UUID]] = {stage: Counter() for stage, _ in _LIVE}

    def _lock(self, found: QuerySet[Row]) -> QuerySet[Row]:
        return found.order_by("pk")

    def _without_members(self, groups: Collection[UUID]) -> set[UUID]:
        empty = set(groups)
        for stage, gone in self._gone.items():
            members = stage.objects.using(alias()).filter(task_group__in=groups)
            counted = members.values_list("task_group").annotate(Count("pk")).order_by()
            empty -= {group for group, count in counted if count > gone[group]}
        return empty

    def _drop_executions(self, pks: Collection[UUID]) -> Counter[str]:
        dropped = TaskExecution.objects.using(alias()).filter(pk__in=pks)
        found = list(dropped.values_list("state", "task_group_id"))
        self._gone[TaskExecution].update(filter(None, (group for _, group in found)))
        return Counter(state for state, _ in found)

    def _drop_groups(self, pks: Collection[UUID]) -> int:
        outer = TaskGroup.objects.using(alias()).filter(pk__in=pks).values_list("task_group_id", flat=True)
        self._gone[TaskGroup].update(filter(None, outer))
        return len(pks)

    def _drop_ticks(self, pks: Collection[int]) -> int:
        return len(pks)


def _unlink(link: str, gone: Collection[UUID]) -> None:
    """What followed and stays follows nothing any more."""
    for stage, _ in _LIVE:
        stage.objects.using(alias()).filter(**{f"{link}__in": gone}).update(**{link: None})


def _delete(sql: str, ids: Any) -> None:
    if params := list(ids):
        with connection().cursor() as cursor:
            cursor.execute(sql.format(ids=placeholders(len(params))), params)


_HAS_OLD = """
SELECT
    (SELECT id FROM i3tasks_django_taskexecution WHERE id < %s ORDER BY id LIMIT 1),
    (SELECT id FROM i3tasks_django_taskgroup WHERE id < %s ORDER BY id LIMIT 1),
    (SELECT fired_at < {cutoff} FROM i3tasks_django_taskscheduletick ORDER BY id LIMIT 1)
"""

# A group's step reads the results of its members, and those of the groups within it through theirs.
_HELD = """
WITH RECURSIVE up(start, id, finished_at, task_group_id) AS (
    SELECT id, id, finished_at, task_group_id FROM i3tasks_django_taskgroup WHERE id IN ({groups})
    UNION
    SELECT up.start, outside.id, outside.finished_at, outside.task_group_id
    FROM up JOIN i3tasks_django_taskgroup outside ON outside.id = up.task_group_id
)
SELECT DISTINCT start FROM up
WHERE finished_at IS NULL OR finished_at >= {cutoff}
    OR EXISTS (SELECT 1 FROM i3tasks_django_taskexecution e
               WHERE e.joins_group_id = up.id AND e.state = 'pending')
    OR EXISTS (SELECT 1 FROM i3tasks_django_taskgroup g
               WHERE g.joins_group_id = up.id AND g.finished_at IS NULL)
"""

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
