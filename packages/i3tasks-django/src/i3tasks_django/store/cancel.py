"""CANCEL: what has not started never will; what runs is told."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from i3tasks_core.states import ExecutionState, TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.database import alias


def cancel(execution_id: UUID) -> bool:
    """Cancel a call.

    Returns:
        True when it will not run (again). False when a try is running, which may look at
        ``task_metadata.is_cancelled()`` and gets no successor, or when the call has already ended.
    """
    with transaction.atomic(using=alias()):
        if _cancel_pending_try(execution_id):
            return _end(execution_id)
        asked = (
            TaskExecution.objects.using(alias())
            .filter(pk=execution_id, state=ExecutionState.PENDING)
            .update(cancel_requested_at=Now())
        )
        # Between the two statements the running try may have failed and left a successor.
        return bool(asked and _cancel_pending_try(execution_id) and _end(execution_id))


def _cancel_pending_try(execution_id: UUID) -> bool:
    return (
        TaskExecutionTry.objects.using(alias())
        .filter(task_execution=execution_id, state=TryState.PENDING)
        .update(state=TryState.CANCELLED, finished_at=Now())
        == 1
    )


def _end(execution_id: UUID) -> bool:
    return (
        TaskExecution.objects.using(alias())
        .filter(pk=execution_id, state=ExecutionState.PENDING)
        .update(state=ExecutionState.CANCELLED, finished_at=Now())
        == 1
    )
