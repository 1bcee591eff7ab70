"""RESCUE: settle as lost what a silent worker holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from i3tasks_core import outcome
from i3tasks_core.envelope import Envelope
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.create import add_try
from i3tasks_django.store.database import alias, free_of_locks, resilient
from i3tasks_django.store.settle import STALE, Settlement, end_execution, end_try


def expired(limit: int, among: Sequence[int] | None = None) -> list[int]:
    """Ids of running tries whose lease is over.

    Args:
        limit: at most so many.
        among: look only at these.
    """
    tries = TaskExecutionTry.objects.using(alias()).filter(state=TryState.RUNNING, lease_until__lt=Now())
    if among is not None:
        tries = tries.filter(pk__in=among)
    return list(tries.order_by("pk").values_list("pk", flat=True)[:limit])


def rescue(try_id: int, patience: float = 4.0) -> Settlement:
    """Give up a try whose lease is over and write its successor, if one is allowed.

    The guard is part of the UPDATE: reading first and writing later would reopen a try that was finished
    in between.

    Returns:
        Whether it was lost and not finished or rescued by somebody else, and the doorbell of its successor.
    """

    def write() -> Settlement:
        with transaction.atomic(using=alias(), durable=True):
            return _rescue(try_id)

    return resilient("rescue", write, patience)


def _rescue(try_id: int) -> Settlement:
    guard = Q(pk=try_id, state=TryState.RUNNING, lease_until__lt=Now())
    # A row that is locked is being settled, or will be looked at again: the beat must not wait for it.
    if not list(free_of_locks(TaskExecutionTry.objects.using(alias()).filter(guard)).values_list("pk")):
        return STALE
    if not end_try(guard, outcome.lost(has_retries_left=True)):
        return STALE
    number, execution_id = (
        TaskExecutionTry.objects.using(alias()).values_list("try_number", "task_execution_id").get(pk=try_id)
    )
    executions = TaskExecution.objects.using(alias()).filter(pk=execution_id)
    open_for_another = executions.filter(
        state=ExecutionState.PENDING, cancel_requested_at=None, max_retries__gte=number
    )
    # A real write, for the same reason as in settle.
    if not open_for_another.update(max_retries=F("max_retries")):
        return Settlement(is_ours=True, doorbells=end_execution(execution_id, TryState.LOST))
    next_id = add_try(execution_id, number + 1, timedelta(0))
    queue_name = executions.values_list("queue_name", flat=True).get()
    doorbell = Envelope(try_id=next_id, execution_id=execution_id, queue_name=queue_name)
    return Settlement(is_ours=True, doorbells=(doorbell,))
