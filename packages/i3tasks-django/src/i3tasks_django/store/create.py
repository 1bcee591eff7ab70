"""CREATE: a call that this process runs itself, and further tries of those that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.database import alias, as_uuid, dialect, rows
from i3tasks_django.store.given import given, parameter
from i3tasks_django.store.insert import FIRST_DISTANCE, NewExecution


def create_running(new: NewExecution, lease: timedelta, worker: str) -> Claim:
    """Write the rows of a call that this process runs itself, here and now."""
    call = new.call
    with transaction.atomic(using=alias(), savepoint=False):
        TaskExecution.objects.using(alias()).create(
            id=new.id,
            task_path=call.task_path,
            task_name=call.task_name,
            task_args=list(call.args),
            task_kwargs=call.kwargs,
            queue_name=call.queue_name,
            max_retries=call.max_retries,
            chain=list(new.chain),
            task_group_id=new.task_group,
            member_number=new.member_number,
        )
        attempt = TaskExecutionTry.objects.using(alias()).create(
            task_execution_id=new.id,
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
        execution_id=new.id,
        try_number=1,
        max_retries=call.max_retries,
        queue_name=call.queue_name,
        task_path=call.task_path,
        task_name=call.task_name,
        args=list(call.args),
        kwargs=call.kwargs,
        asked_at=attempt.asked_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTry:
    """A further try of an execution that exists.

    Attributes:
        delay: until it is due; the relay rings then. Without one the caller rings after its commit.
    """

    execution_id: UUID
    try_number: int
    queue_name: str
    delay: timedelta = timedelta(0)


def add_tries(wanted: Sequence[NextTry]) -> list[Envelope]:
    """Write them.

    Returns:
        The doorbells of those that are due at once.
    """
    if not wanted:
        return []
    later = dialect().later
    sql = _SQL.format(
        later=later,
        delayed=later.replace("%s", "delay"),
        given=given(len(wanted), execution_id="uuid", number="integer", delay="double precision"),
    )
    params = [FIRST_DISTANCE.total_seconds(), parameter(map(_as_row, wanted))]
    try_ids = {as_uuid(execution_id): try_id for try_id, execution_id in rows(sql, params)}
    return [
        Envelope(try_id=try_ids[new.execution_id], execution_id=new.execution_id, queue_name=new.queue_name)
        for new in wanted
        if not new.delay
    ]


def _as_row(new: NextTry) -> dict[str, object]:
    row: dict[str, object] = {"execution_id": new.execution_id, "number": new.try_number}
    return {**row, "delay": new.delay.total_seconds()} if new.delay else row


_SQL = """
INSERT INTO i3tasks_django_taskexecutiontry (
    task_execution_id, try_number, state, run_after, next_publish_at, publish_count, fence, worker,
    error_class, error_message, traceback)
SELECT execution_id, number, 'pending', {delayed}, COALESCE({delayed}, {later}),
    CASE WHEN delay IS NULL THEN 1 ELSE 0 END, 0, '', '', '', ''
FROM {given}
RETURNING id, task_execution_id
"""
