"""CREATE: a call that this process runs itself, and a further try of one that exists."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.database import alias
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


def add_try(execution_id: UUID, try_number: int, delay: timedelta) -> int:
    """Write the next try of an execution and return its id.

    With a delay the relay rings when it is due. Without one the caller rings after its commit.
    """
    run_after = Now() + delay if delay else None
    attempt = TaskExecutionTry.objects.using(alias()).create(
        task_execution_id=execution_id,
        try_number=try_number,
        run_after=run_after,
        next_publish_at=run_after or Now() + FIRST_DISTANCE,
        publish_count=0 if run_after else 1,
    )
    return attempt.pk
