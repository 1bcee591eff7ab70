"""CANCEL: what has not started never will; what runs is told, and nothing follows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from i3tasks_core.envelope import Envelope
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_core.steps import load
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from i3tasks_django.store.database import (
    alias,
    as_uuid,
    connection,
    dialect,
    locked,
    parts,
    placeholders,
    resilient,
    rows,
)
from i3tasks_django.store.end import end_executions, silence
from i3tasks_django.store.flow import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What a cancel came to; true when something was stopped and nothing runs on.

    Attributes:
        cancelled: ids of the executions that will not run (again).
        running: ids of those that could not be stopped: each may look at ``task_metadata.is_cancelled()``,
            gets no further try, and nothing follows it.
    """

    cancelled: tuple[UUID, ...] = ()
    running: tuple[UUID, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cancelled) and not self.running


def cancel(
    *, executions: Iterable[UUID] = (), groups: Iterable[UUID] = (), patience: float = 4.0
) -> tuple[Cancellation, tuple[Envelope, ...]]:
    """Cancel executions and groups with everything that follows them, in one transaction.

    Returns:
        What became of it, and the doorbells to ring after the commit: a group that has lost a member to a
        cancel may have to say so.
    """
    wanted, wanted_groups = set(executions), set(groups)

    def write() -> tuple[Cancellation, tuple[Envelope, ...]]:
        with transaction.atomic(using=alias()):
            return _Tree().cancel(wanted, wanted_groups)

    return resilient("cancel", write, patience, may_last=True)


class _Tree:
    """Walks down from what is to be cancelled to everything that came of it."""

    def __init__(self) -> None:
        self._flow = Flow()
        self._cancelled: dict[UUID, None] = {}
        self._running: dict[UUID, None] = {}
        self._groups: set[UUID] = set()

    def cancel(self, executions: set[UUID], groups: set[UUID]) -> tuple[Cancellation, tuple[Envelope, ...]]:
        self._walk(executions, groups)
        # Groups last, as everywhere: their members' ends wait for them. Who came in meanwhile goes as well;
        # after the mark nobody comes in any more.
        while marked := self._mark_groups():
            self._walk(
                self._members(marked),
                {pk for part in parts(marked) for pk in _pks(TaskGroup, Q(task_group__in=part))},
            )
        doorbells = self._flow.write()
        done = Cancellation(cancelled=tuple(self._cancelled), running=tuple(self._running))
        return done, doorbells

    def _walk(self, executions: set[UUID], groups: set[UUID]) -> None:
        while executions or groups:
            groups = groups - self._groups
            self._groups |= groups
            executions = (executions | self._members(groups)) - self._cancelled.keys() - self._running.keys()
            self._stop(executions)
            ended = executions - self._cancelled.keys() - self._running.keys()
            follows = [Q(chained_from__in=part) for part in parts(ended)]
            for part in parts(groups):
                # What follows the group, and what its members that have ended call on their own.
                follows += [Q(joins_group__in=part), Q(chained_from__task_group__in=part)]
            within = [Q(task_group__in=part) for part in parts(groups)]
            executions = {pk for found in follows for pk in _pks(TaskExecution, found)}
            groups = {pk for found in (*follows, *within) for pk in _pks(TaskGroup, found)}

    def _members(self, groups: set[UUID]) -> set[UUID]:
        unfinished = Q(state=ExecutionState.PENDING)
        return {
            pk for part in parts(groups) for pk in _pks(TaskExecution, Q(task_group__in=part) & unfinished)
        }

    def _stop(self, executions: set[UUID]) -> None:
        for part in parts(executions):
            self._end(_cancel_pending_tries(part))
            told = _tell_running(part)
            # Between the two a running try may have failed and left a successor.
            self._end(late := _cancel_pending_tries(told))
            self._running |= dict.fromkeys(pk for pk in told if pk not in late)

    def _end(self, executions: Collection[UUID]) -> None:
        if not executions:
            return
        for ended in end_executions(dict.fromkeys(executions, ExecutionState.CANCELLED)):
            self._cancelled[ended.id] = None
            if ended.chain:
                chain = load(ended.chain)
                self._flow.cancel(chain)
                silence(ended.id, chain)

    def _mark_groups(self) -> set[UUID]:
        """Groups take no further members from now on, and wait for none that was never called."""
        marked: set[UUID] = set()
        words = dialect()
        # The newest first, as the flow counts them: an inner group before the one it is a member of.
        for part in reversed(list(parts(self._groups))):
            _lock_newest_first(part)
            sql = _MARK.format(now=words.now, ids=placeholders(len(part)))
            for pk, missing_count in rows(sql, [words.uuid(pk) for pk in part]):
                marked.add(as_uuid(pk))
                self._flow.miss(as_uuid(pk), missing_count)
        return marked


# Whoever comes second marks nothing, so that missing members are counted once.
_MARK = """
UPDATE i3tasks_django_taskgroup SET cancel_requested_at = {now}
WHERE id IN ({ids}) AND cancel_requested_at IS NULL AND finished_at IS NULL
RETURNING id, total_count - member_count
"""


def _lock_newest_first(groups: Collection[UUID]) -> None:
    if connection().vendor == "postgresql":
        found = TaskGroup.objects.using(alias()).filter(pk__in=groups).order_by("-pk")
        list(found.select_for_update().values_list("pk"))


def _cancel_pending_tries(executions: Collection[UUID]) -> list[UUID]:
    """The executions whose waiting try is cancelled with this."""
    tries = TaskExecutionTry.objects.using(alias()).filter(
        task_execution__in=executions, state=TryState.PENDING
    )
    found = dict(locked(tries).values_list("pk", "task_execution_id"))
    TaskExecutionTry.objects.using(alias()).filter(pk__in=found).update(
        state=TryState.CANCELLED, finished_at=Now()
    )
    return list(found.values())


def _tell_running(executions: Collection[UUID]) -> list[UUID]:
    pending = TaskExecution.objects.using(alias()).filter(pk__in=executions, state=ExecutionState.PENDING)
    found = list(locked(pending).values_list("pk", flat=True))
    pending.filter(pk__in=found).update(cancel_requested_at=Now())
    return found


def _pks(stage: type[TaskExecution | TaskGroup], found: Q) -> list[UUID]:
    return list(stage.objects.using(alias()).filter(found).values_list("pk", flat=True))
