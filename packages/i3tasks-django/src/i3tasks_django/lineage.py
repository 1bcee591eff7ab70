"""Where a call stands among others: what came before it, which group it belongs to, how those ended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from i3tasks_core.states import ExecutionState, TryState
from i3tasks_django.models import TaskExecution, TaskExecutionResult, TaskExecutionTry, TaskGroup
from i3tasks_django.store.database import alias


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The call before this one in its chain.

    Attributes:
        result: what it gave back; None when it did not succeed.
        error_class: with the other two, its last try's error; empty when it succeeded.
    """

    id: UUID
    task: str
    state: ExecutionState
    result: Any = None
    error_class: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call of a group that failed or was cancelled."""

    id: UUID
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    state: ExecutionState
    error_class: str
    error_message: str


class Lineage:
    """A call's relations, read when they are first asked for."""

    def __init__(self, execution_id: UUID) -> None:
        self._execution_id = execution_id

    @cached_property
    def parent(self) -> UUID | None:
        """For the first step of a group's member that is what came before the group."""
        at: TaskExecution | TaskGroup | None = self._links
        while at is not None and at.chained_from_id is None and at.joins_group_id is None:
            at = None if at.task_group_id is None else _groups().filter(pk=at.task_group_id).first()
        return None if at is None else at.chained_from_id

    @cached_property
    def previous(self) -> Previous | None:
        if self.parent is None:
            return None
        before = _executions().filter(pk=self.parent).first()
        return None if before is None else _previous(before)

    @cached_property
    def group(self) -> TaskGroup | None:
        # A step that a group has called asks about that group, also where it belongs to another one.
        wanted = self._links.joins_group_id or self._links.task_group_id
        return None if wanted is None else _groups().filter(pk=wanted).first()

    @cached_property
    def failures(self) -> list[Failure]:
        links = self._links
        if not links.after_failure:
            return []
        if links.joins_group_id is not None:
            return failures(self.group) if self.group is not None else []
        return _failures(pk=links.chained_from_id)

    @cached_property
    def _links(self) -> TaskExecution:
        return _executions().defer("chain", "task_args", "task_kwargs").get(pk=self._execution_id)


def results(group: TaskGroup) -> list[Any]:
    """See ``TaskGroup.results``."""
    found: dict[int | None, Any] = dict.fromkeys(range(group.total_count))
    members = TaskExecutionResult.objects.using(alias()).filter(
        task_execution_try__task_execution__task_group=group,
        task_execution_try__task_execution__member_number__isnull=False,
    )
    found |= dict(members.values_list("task_execution_try__task_execution__member_number", "result"))
    inner = TaskGroup.objects.using(alias()).filter(task_group=group, member_number__isnull=False)
    for member in inner:
        found[member.member_number] = results(member)
    return list(found.values())


def failures(group: TaskGroup) -> list[Failure]:
    """See ``TaskGroup.failures``; those of groups within the group are among them."""
    return _failures(task_group__in=_with_inner(group))


def _failures(**of: Any) -> list[Failure]:
    wanted = {**of, "state__in": (ExecutionState.FAILED, ExecutionState.CANCELLED)}
    errors = _last_tries(**{f"task_execution__{name}": value for name, value in wanted.items()})
    return [
        Failure(
            id=execution.pk,
            task=execution.full_name,
            args=execution.task_args,
            kwargs=execution.task_kwargs,
            state=ExecutionState(execution.state),
            error_class=errors[execution.pk].error_class if execution.pk in errors else "",
            error_message=errors[execution.pk].error_message if execution.pk in errors else "",
        )
        for execution in _executions().filter(**wanted).defer("chain").order_by("pk")
    ]


def _with_inner(group: TaskGroup) -> list[UUID]:
    pks, level = [group.pk], [group.pk]
    while level:
        level = list(
            TaskGroup.objects.using(alias()).filter(task_group__in=level).values_list("pk", flat=True)
        )
        pks += level
    return pks


def _previous(execution: TaskExecution) -> Previous:
    last = _last_tries(task_execution=execution).get(execution.pk)
    has_failed = last is not None and last.state != TryState.SUCCESS
    return Previous(
        id=execution.pk,
        task=execution.full_name,
        state=ExecutionState(execution.state),
        result=last.result.result if last is not None and hasattr(last, "result") else None,
        error_class=last.error_class if last is not None and has_failed else "",
        error_message=last.error_message if last is not None and has_failed else "",
    )


def _last_tries(**wanted: Any) -> dict[UUID, TaskExecutionTry]:
    tries = TaskExecutionTry.objects.using(alias()).filter(**wanted).select_related("result")
    return {attempt.task_execution_id: attempt for attempt in tries.defer("traceback").order_by("try_number")}


def _executions() -> QuerySet[TaskExecution]:
    return TaskExecution.objects.using(alias())


def _groups() -> QuerySet[TaskGroup]:
    return TaskGroup.objects.using(alias()).defer("chain")
