"""CREATE: the call becomes an execution and its first try, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.registry import TaskDefinition
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.database import alias

PUBLISH_GRACE = timedelta(seconds=5)
"""How long the commit hook has before the relay rings in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """A call that has passed every check.

    Attributes:
        run_after: not before this moment (aware), or this long after now, or at once.
    """

    task: TaskDefinition
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue_name: str
    max_retries: int
    run_after: datetime | timedelta | None = None


def create(call: NewCall) -> Envelope:
    """Write the rows; nothing runs unless the caller's transaction commits."""
    run_after = _moment(call.run_after)
    with transaction.atomic(using=alias(), savepoint=False):
        execution = _create_execution(call)
        attempt = TaskExecutionTry.objects.using(alias()).create(
            task_execution=execution,
            run_after=run_after,
            next_publish_at=run_after or Now() + PUBLISH_GRACE,
        )
    return Envelope(try_id=attempt.pk, execution_id=execution.pk, queue_name=call.queue_name)


def create_running(call: NewCall, lease: timedelta, worker: str) -> Claim:
    """Write the rows of a call that this process runs itself, here and now."""
    with transaction.atomic(using=alias(), savepoint=False):
        execution = _create_execution(call)
        attempt = TaskExecutionTry.objects.using(alias()).create(
            task_execution=execution,
            state=TryState.RUNNING,
            fence=1,
            next_publish_at=Now(),
            started_at=Now(),
            lease_until=Now() + lease,
            worker=worker,
        )
    return Claim(
        try_id=attempt.pk,
        fence=1,
        execution_id=execution.pk,
        try_number=1,
        max_retries=call.max_retries,
        queue_name=call.queue_name,
        task_path=call.task.path,
        task_name=call.task.name,
        args=list(call.args),
        kwargs=call.kwargs,
        asked_at=attempt.asked_at,
    )


def add_try(execution_id: UUID, try_number: int, delay: timedelta) -> int:
    """Write the next try of an execution and return its id.

    With a delay the relay rings when it is due. Without one the caller rings after its commit, and the
    relay only if that fails.
    """
    run_after = Now() + delay if delay else None
    attempt = TaskExecutionTry.objects.using(alias()).create(
        task_execution_id=execution_id,
        try_number=try_number,
        run_after=run_after,
        next_publish_at=run_after or Now() + PUBLISH_GRACE,
    )
    return attempt.pk


def _create_execution(call: NewCall) -> TaskExecution:
    return TaskExecution.objects.using(alias()).create(
        task_path=call.task.path,
        task_name=call.task.name,
        task_args=list(call.args),
        task_kwargs=call.kwargs,
        queue_name=call.queue_name,
        max_retries=call.max_retries,
    )


def _moment(run_after: datetime | timedelta | None) -> Any:
    return Now() + run_after if isinstance(run_after, timedelta) else Value(run_after) if run_after else None
