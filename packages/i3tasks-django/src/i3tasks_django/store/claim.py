"""CLAIM: pending becomes running, for as many tries as one asks for, in one guarded statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_django.store.database import as_datetime, as_uuid, dialect, placeholders, resilient, rows

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
    sql = _SQL.format(now=words.now, later=words.later, ids=placeholders(len(bells)))
    ids = [bell.try_id for bell in bells]
    executions = [words.uuid(bell.execution_id) for bell in bells]
    params = [lease.total_seconds(), worker, *ids, *executions, -UNREGISTERED_PATIENCE.total_seconds()]
    return [_as_claim(row) for row in resilient("claim", lambda: rows(sql, params), patience)]


# The guard stands in the outer WHERE: through a sub-select two claimers could both win, because
# READ COMMITTED re-checks only the outer condition after waiting for a row. The execution's id is asked for
# because a try's number alone is also some other try's in another database that shares the secret.
_SQL = """
UPDATE i3tasks_django_taskexecutiontry AS attempt
SET state = 'running', fence = fence + 1, lease_until = {later}, started_at = {now}, worker = %s
WHERE id IN ({ids}) AND task_execution_id IN ({ids})
    AND state = 'pending' AND (run_after IS NULL OR run_after <= {now})
RETURNING id, fence, task_execution_id, try_number, asked_at, COALESCE(run_after, asked_at) < {later},
    (SELECT max_retries FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id),
    (SELECT queue_name FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id),
    (SELECT task_path FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id),
    (SELECT task_name FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id),
    (SELECT task_args FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id),
    (SELECT task_kwargs FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id)
"""


def _as_claim(row: tuple[object, ...]) -> Claim:
    (
        try_id,
        fence,
        execution_id,
        try_number,
        asked_at,
        overdue,
        max_retries,
        queue,
        path,
        name,
        args,
        kwargs,
    ) = row
    return Claim(
        try_id=int(str(try_id)),
        fence=int(str(fence)),
        execution_id=as_uuid(execution_id),
        try_number=int(str(try_number)),
        max_retries=int(str(max_retries)),
        queue_name=str(queue),
        task_path=str(path),
        task_name=str(name),
        args=json.loads(str(args)),
        kwargs=json.loads(str(kwargs)),
        asked_at=as_datetime(asked_at),
        is_overdue=bool(overdue),
    )
