"""SETTLE: how a try ended and everything that follows from it, in one fenced transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.outcome import Outcome
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_core.steps import load
from i3tasks_django.models import TaskExecution, TaskExecutionResult, TaskExecutionTry
from i3tasks_django.store.create import add_try
from i3tasks_django.store.database import alias, resilient
from i3tasks_django.store.end import end_executions, silence
from i3tasks_django.store.flow import Flow
from i3tasks_django.store.insert import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What settling came to: whether the finish was ours to write, and which doorbells to ring now."""

    is_ours: bool
    doorbells: tuple[Envelope, ...] = ()


STALE = Settlement(is_ours=False)

_ENDED_WITH = {
    TryState.SUCCESS: ExecutionState.SUCCESS,
    TryState.FAILED: ExecutionState.FAILED,
    TryState.LOST: ExecutionState.FAILED,
}


def settle(claim: Claim, outcome: Outcome, patience: float) -> Settlement:
    """Write the end of a try, if it is still ours.

    Safe to run again when the answer to its COMMIT was lost: the second run finds the try ended.

    Args:
        claim: what was run.
        outcome: how it ended.
        patience: seconds to go on trying while the database is away; well below the lease.
    """

    def write() -> Settlement:
        with transaction.atomic(using=alias(), durable=True):
            return settle_within(claim, outcome)

    settlement = resilient("settle", write, patience)
    if not settlement.is_ours and was_settled(claim, outcome):
        return Settlement(is_ours=True)
    return settlement


def settle_within(claim: Claim, outcome: Outcome) -> Settlement:
    """The same inside a transaction of the caller's, who rolls it back when the try was not ours."""
    guard = Q(pk=claim.try_id, state=TryState.RUNNING, fence=claim.fence)
    if not end_try(guard, outcome):
        return STALE
    if outcome.retry_after is not None and _wants_another_try(claim.execution_id):
        return Settlement(is_ours=True, doorbells=_next_try(claim, outcome.retry_after))
    if outcome.result is not None:
        TaskExecutionResult.objects.using(alias()).create(
            task_execution_try_id=claim.try_id, result=outcome.result
        )
    return Settlement(is_ours=True, doorbells=end_execution(claim.execution_id, outcome.state))


def was_settled(claim: Claim, outcome: Outcome) -> bool:
    """Whether this very end has been written: only the holder of the fence could have."""
    return (
        TaskExecutionTry.objects.using(alias())
        .filter(pk=claim.try_id, fence=claim.fence, state=outcome.state)
        .exists()
    )


def end_try(guard: Q, outcome: Outcome) -> bool:
    """Close the try's row if the guard still holds. The first of all writes: this row is locked first."""
    error = outcome.error
    changed = (
        TaskExecutionTry.objects.using(alias())
        .filter(guard)
        .update(
            state=outcome.state,
            finished_at=Now(),
            lease_until=None,
            error_class=error.error_class if error else "",
            error_message=error.message if error else "",
            traceback=error.traceback if error else "",
        )
    )
    return changed == 1


def end_execution(execution_id: UUID, state: TryState) -> tuple[Envelope, ...]:
    """Close the execution with its last try, if it is still open, and write what follows.

    Returns:
        The doorbells to ring after the commit.
    """
    flow = Flow()
    for ended in end_executions([execution_id], _ENDED_WITH[state]):
        if ended.chain:
            chain, is_success = load(ended.chain), ended.state == ExecutionState.SUCCESS
            origin = Origin(chained_from=ended.id)
            flow.follow(chain, origin, is_success=is_success, is_cancelled=ended.is_cancelled)
            if not is_success:
                silence(ended.id, chain)
    return flow.write()


def _wants_another_try(execution_id: UUID) -> bool:
    # A real write: it makes this transaction and a cancel() of the same call wait for each other at every
    # isolation level, so a cancelled call gets no further try.
    return (
        TaskExecution.objects.using(alias())
        .filter(pk=execution_id, state=ExecutionState.PENDING, cancel_requested_at=None)
        .update(state=ExecutionState.PENDING)
        == 1
    )


def _next_try(claim: Claim, delay: timedelta) -> tuple[Envelope, ...]:
    try_id = add_try(claim.execution_id, claim.try_number + 1, delay)
    if delay > timedelta(0):
        return ()  # the relay rings when it is due
    return (Envelope(try_id=try_id, execution_id=claim.execution_id, queue_name=claim.queue_name),)
