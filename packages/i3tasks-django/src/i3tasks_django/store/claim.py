"""CLAIM: pending becomes running, for as many tries as one asks for, in one guarded statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.states import TryState
from i3tasks_django.store.database import (
    as_datetime,
    as_json,
    as_uuid,
    by_id,
    dialect,
    resilient,
    rows,
)
from i3tasks_django.store.given import given, parameter

UNREGISTERED_PATIENCE = timedelta(minutes=15)
"""How long a task that no process here knows may wait for a deploy to bring it."""


def claim(bells: Sequence[Envelope], *, lease: timedelta, worker: str, patience: float = 4.0) -> list[Claim]:
    """Take the tries that are pending and due; the others are somebody else's, or nobody's yet.

    The statement commits by itself before any user code runs. If the answer to that commit is lost, the
    tries are running without a runner: their leases end and the rescue takes them.

    Args:
        bells: what the messages named; unknown tries do no harm.
        lease: how long they are ours without a heartbeat.
        worker: who we are, for people to read.
        patience: seconds to go on trying while the database is away.
    """
    words = dialect()
    sql = _SQL.format(
        now=words.now,
        later=words.later,
        claimed=CLAIMED.format(words=words),
        is_pending=by_id(TryState.PENDING),
        given=given(len(bells), try_id="bigint", execution_id="uuid"),
        free=words.skip_locked.replace("UPDATE", "UPDATE OF free"),
    )
    named = parameter({"try_id": bell.try_id, "execution_id": bell.execution_id} for bell in bells)
    params = [named, lease.total_seconds(), worker, -UNREGISTERED_PATIENCE.total_seconds()]
    return [
        as_claim(row, is_overdue=bool(is_overdue))
        for *row, is_overdue in resilient("claim", lambda: rows(sql, params), patience)
    ]


# The guard stands in the outer WHERE: through a sub-select two claimers could both win, because
# READ COMMITTED re-checks only the outer condition after waiting for a row. The execution's id is asked for
# because a try's number alone is also some other try's in another database that shares the secret.
# What somebody has locked is left to him, who claims it, cancels it or rings for it: to wait would keep
# everybody else's tries. Locks are taken in the order of ids: two that claim the same must not deadlock.
_SQL = """
WITH named AS MATERIALIZED (
    SELECT try_id, execution_id FROM {given}
    JOIN i3tasks_django_taskexecutiontry AS free ON free.id = try_id
    WHERE {is_pending} ORDER BY try_id {free}
)
UPDATE i3tasks_django_taskexecutiontry AS attempt
SET state = 'running', fence = fence + 1, lease_until = {later}, started_at = {now}, worker = %s
FROM named
WHERE attempt.id = named.try_id AND task_execution_id = named.execution_id
    AND {is_pending} AND (run_after IS NULL OR run_after <= {now})
RETURNING {claimed}, COALESCE(run_after, asked_at) < {later}
"""

CLAIMED = """id, fence, task_execution_id, try_number, asked_at, (
    SELECT {words.json_array}(
        max_retries, queue_name, task_path, task_name, {words.json}(task_args), {words.json}(task_kwargs))
    FROM i3tasks_django_taskexecution AS execution WHERE execution.id = task_execution_id)"""
"""What makes a claim, in a RETURNING."""


def as_claim(row: Sequence[Any], *, is_overdue: bool = False) -> Claim:
    """The claim of a row of ``CLAIMED``."""
    try_id, fence, execution_id, try_number, asked_at, call = row
    max_retries, queue_name, task_path, task_name, args, kwargs = as_json(call)
    return Claim(
        try_id=try_id,
        fence=fence,
        execution_id=as_uuid(execution_id),
        try_number=try_number,
        max_retries=max_retries,
        queue_name=queue_name,
        task_path=task_path,
        task_name=task_name,
        args=args,
        kwargs=kwargs,
        asked_at=as_datetime(asked_at),
        is_overdue=is_overdue,
    )
