"""REOPEN: a person asks for one more try of a call that failed or was cancelled."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Max

from i3tasks_core.envelope import Envelope
from i3tasks_core.states import ExecutionState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.create import NextTry, add_tries
from i3tasks_django.store.database import alias


def reopen(execution_id: UUID) -> Envelope | None:
    """Make the call pending again with another try, due now.

    Returns:
        Its doorbell, or None when the call has succeeded or has not ended yet.
    """
    with transaction.atomic(using=alias()):
        executions = TaskExecution.objects.using(alias()).filter(pk=execution_id)
        ended = executions.filter(state__in=[ExecutionState.FAILED, ExecutionState.CANCELLED])
        if not ended.update(state=ExecutionState.PENDING, finished_at=None, cancel_requested_at=None):
            return None
        tries = TaskExecutionTry.objects.using(alias()).filter(task_execution=execution_id)
        last = tries.aggregate(last=Max("try_number"))["last"] or 0
        # One more than it had, if it had them all; a call that was given up early keeps its retries.
        executions.filter(max_retries__lt=last).update(max_retries=last)
        queue_name = executions.values_list("queue_name", flat=True).get()
        further = NextTry(execution_id=execution_id, try_number=last + 1, queue_name=queue_name)
        (doorbell,) = add_tries([further])
    return doorbell
