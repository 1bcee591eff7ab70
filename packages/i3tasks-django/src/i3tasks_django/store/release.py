"""RELEASE: hand a claimed try back as it was; it was not started, so it does not count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from i3tasks_core.claim import Claim
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_django.models import TaskExecution
from i3tasks_django.store.cancel import cancel
from i3tasks_django.store.database import alias, by_id, dialect, resilient, rows
from i3tasks_django.store.given import given, parameter
from i3tasks_django.store.relay import postpone

UNREGISTERED_DELAY = timedelta(seconds=30)


def release(claims: Sequence[Claim], patience: float = 4.0) -> None:
    """Make the tries pending again, due at once; the relay rings for them in its next pass."""
    _give_back(claims, timedelta(0), patience)


def postpone_unregistered(claim: Claim, patience: float = 4.0) -> None:
    """Hand back a try whose task nobody knows here yet: a deploy may be under way."""
    _give_back([claim], UNREGISTERED_DELAY, patience)


def _give_back(claims: Sequence[Claim], delay: timedelta, patience: float) -> None:
    if not claims:
        return

    def write() -> None:
        with transaction.atomic(using=alias(), durable=True):
            _make_pending(claims, delay)
            _end_cancelled([claim.execution_id for claim in claims])

    resilient("release", write, patience)


def _make_pending(claims: Sequence[Claim], delay: timedelta) -> None:
    sql = _SQL.format(
        later=dialect().later,
        is_running=by_id(TryState.RUNNING),
        given=given(len(claims), try_id="bigint", held="integer"),
    )
    mine = parameter({"try_id": claim.try_id, "held": claim.fence} for claim in claims)
    rows(sql, [delay.total_seconds(), mine])


_SQL = """
UPDATE i3tasks_django_taskexecutiontry AS attempt
SET state = 'pending', lease_until = NULL, started_at = NULL, worker = '', next_publish_at = {later},
    publish_count = 0
FROM {given}
WHERE attempt.id = given.try_id AND {is_running} AND fence = held
RETURNING id
"""


def _end_cancelled(execution_ids: Sequence[UUID]) -> None:
    """Somebody cancelled a call while we held its try: now that it has not started, it never will."""
    executions = TaskExecution.objects.using(alias()).filter(
        pk__in=execution_ids, state=ExecutionState.PENDING
    )
    # A real write, so that this and a cancel() at the same moment wait for each other.
    executions.update(state=ExecutionState.PENDING)
    cancelled = executions.filter(cancel_requested_at__isnull=False).values_list("pk", flat=True)
    if found := list(cancelled):
        _, doorbells = cancel(executions=found)
        postpone([doorbell.try_id for doorbell in doorbells])  # the relay rings for them
