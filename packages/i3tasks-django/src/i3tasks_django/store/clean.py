"""CLEAN: delete what ended long ago, in small batches, unless something live may still ask about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from i3tasks_core.identifiers import uuid7_at
from i3tasks_core.states import ExecutionState
from i3tasks_django.models import TaskExecution, TaskGroup, TaskScheduleTick
from i3tasks_django.store.broom import Account, Broom, Row, Stage
from i3tasks_django.store.database import alias, as_uuid, dialect, placeholders, resilient, rows
from i3tasks_django.store.reference import referenced

BATCH = 500

_PENDING = Q(state=ExecutionState.PENDING)
_LIVE: dict[Stage, Q] = {TaskExecution: _PENDING, TaskGroup: Q(finished_at=None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What was deleted, or would have been.

    Attributes:
        executions: how many, by state.
        kept_count: rows that would be gone if rows of other tables did not point at them.
    """

    executions: Counter[str] = field(default_factory=Counter)
    group_count: int = 0
    tick_count: int = 0
    kept_count: int = 0

    def __add__(self, other: Cleaned) -> Cleaned:
        return Cleaned(
            executions=self.executions + other.executions,
            group_count=self.group_count + other.group_count,
            tick_count=self.tick_count + other.tick_count,
            kept_count=self.kept_count + other.kept_count,
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
    what rows of other tables point at; and what somebody else has locked.

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
    broom = (Account if dry_run else Broom)(older_than)
    return _Sweep(older_than, batch_size, patience, broom).batches()


class _Sweep:
    """One walk over all that is old: which of it may go."""

    def __init__(self, older_than: timedelta, batch_size: int, patience: float, broom: Broom) -> None:
        self._batch_size, self._patience, self._broom = batch_size, patience, broom
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
            yield from self._write(_old(page), self._clean_executions)

    def _groups(self) -> Iterator[Cleaned]:
        last = self._bound
        groups = TaskGroup.objects.using(alias()).order_by("-pk")
        while page := self._page(groups.filter(pk__lt=last), self._ended):
            last = page[-1][0]
            yield from self._write(_old(page), self._clean_groups)

    def _ticks(self) -> Iterator[Cleaned]:
        last, has_old = 0, True
        ticks = TaskScheduleTick.objects.using(alias()).order_by("pk")
        while has_old and (page := self._page(ticks.filter(pk__gt=last), self._fired)):
            last, has_old = page[-1][0], any(is_old for _, is_old in page)
            yield from self._write(_old(page), self._clean_ticks)

    def _page(self, found: QuerySet[Row], is_old: Q) -> list[tuple[Any, bool]]:
        """The next rows, and which of them are old enough: by id, for their age has no index."""
        return list(found.annotate(is_old=is_old).values_list("pk", "is_old")[: self._batch_size])

    def _write(self, old: list[Any], action: Callable[[list[Any]], Cleaned]) -> Iterator[Cleaned]:
        """One transaction; where that cannot be, each half on its own, down to the row that is in the way.

        Rows of other tables that Django knows nothing of show when we commit. One that is pointed at must
        not keep its neighbours, and is passed by until the next walk.
        """

        def write() -> Cleaned | None:
            try:
                with transaction.atomic(using=alias(), durable=True):
                    return action(old)
            except IntegrityError:
                return None

        done = resilient("clean", write, self._patience, may_last=True) if old else Cleaned()
        if done is not None:
            yield done
        elif len(old) == 1:
            yield Cleaned(kept_count=1)
        else:
            middle = len(old) // 2
            yield from self._write(old[:middle], action)
            yield from self._write(old[middle:], action)

    def _clean_executions(self, pks: list[UUID]) -> Cleaned:
        old = TaskExecution.objects.using(alias()).filter(self._ended, pk__in=pks)
        members = dict(self._broom.lock(old).values_list("pk", "task_group_id"))
        held = self._held(set(filter(None, members.values())))
        free = {pk for pk, group in members.items() if group not in held}
        free -= self._followed("chained_from", free)
        kept = referenced(TaskExecution, free)
        return Cleaned(executions=self._broom.drop_executions(free - kept), kept_count=len(kept))

    def _clean_groups(self, pks: list[UUID]) -> Cleaned:
        old = TaskGroup.objects.using(alias()).filter(self._ended, pk__in=pks)
        free = set(self._broom.lock(old).values_list("pk", flat=True))
        free -= self._held(free)
        free -= self._followed("joins_group", free)
        kept = referenced(TaskGroup, free)
        free -= kept
        count = 0
        while empty := self._broom.without_members(free):
            count += self._broom.drop_groups(empty)
            free -= empty
        return Cleaned(group_count=count, kept_count=len(kept))

    def _clean_ticks(self, pks: list[int]) -> Cleaned:
        ticks = TaskScheduleTick.objects.using(alias())
        later = ticks.filter(schedule=OuterRef("schedule"), tick_at__gt=OuterRef("tick_at"))
        pending = TaskExecution.objects.filter(_PENDING, pk=OuterRef("task_execution_id"))
        old = ticks.filter(self._fired, Exists(later), ~Exists(pending), pk__in=pks)
        free = set(self._broom.lock(old).values_list("pk", flat=True))
        kept = referenced(TaskScheduleTick, free)
        return Cleaned(tick_count=self._broom.drop_ticks(free - kept), kept_count=len(kept))

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
        for stage, live in _LIVE.items():
            after = stage.objects.using(alias()).filter(**{f"{link}__in": ended})
            if followers := dict(after.values_list("pk", f"{link}_id")):
                found = stage.objects.using(alias()).filter(pk__in=followers).exclude(live)
                free = set(self._broom.lock(found).values_list("pk", flat=True))
                followed |= {before for pk, before in followers.items() if pk not in free}
        return followed


def _old(page: list[tuple[Any, bool]]) -> list[Any]:
    return sorted(pk for pk, is_old in page if is_old)


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
