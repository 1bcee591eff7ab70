"""Messages as Pub/Sub would bring them, and short ways to take one to its end."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope, encode
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_django import ChainHandle, store
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.runtime import runtime


def envelope_of(handle: ChainHandle, queue_name: str | None = None) -> Envelope:
    """The doorbell of a call's latest try."""
    last = TaskExecutionTry.objects.filter(task_execution=handle.id).order_by("try_number").last()
    assert last is not None
    return Envelope(
        try_id=last.pk, execution_id=handle.id, queue_name=queue_name or last.task_execution.queue_name
    )


def received(envelope: Envelope, ack_id: str = "1") -> Received:
    data, attributes = encode(envelope, runtime().keys[0])
    return Received(ack_id, f"m{ack_id}", data, attributes)


def push_body(envelope: Envelope) -> dict[str, Any]:
    data, attributes = encode(envelope, runtime().keys[0])
    message = {"data": base64.b64encode(data).decode(), "attributes": attributes, "messageId": "1"}
    return {"message": message, "subscription": "projects/test/subscriptions/any"}


def push_json(envelope: Envelope) -> str:
    return json.dumps(push_body(envelope))


def deliver(handle: ChainHandle) -> Verdict:
    """Take the call's latest try to its end, as a push would."""
    return Delivery(runtime()).deliver(envelope_of(handle))


def execution(handle: ChainHandle) -> TaskExecution:
    return TaskExecution.objects.get(pk=handle.id)


def tries(handle: ChainHandle) -> list[TaskExecutionTry]:
    return list(TaskExecutionTry.objects.filter(task_execution=handle.id).order_by("try_number"))


def states(handle: ChainHandle) -> list[str]:
    return [attempt.state for attempt in tries(handle)]


def deliver_all() -> int:
    """Deliver everything that waits, and what comes of it, each doorbell twice; the number of runs."""
    delivery, runs = Delivery(runtime()), 0
    while waiting := list(TaskExecutionTry.objects.filter(state="pending").order_by("pk")):
        for attempt in waiting:
            bell = Envelope(try_id=attempt.pk, execution_id=attempt.task_execution_id, queue_name="any")
            TaskExecutionTry.objects.filter(pk=attempt.pk).update(run_after=None)
            runs += delivery.deliver(bell) is Verdict.SETTLED
            delivery.deliver(bell)
    return runs


def called() -> list[str]:
    """What was called, in the order of the calls: task, state and result of each."""
    return [_told(row) for row in TaskExecution.objects.order_by("pk")]


def _told(row: TaskExecution) -> str:
    last = row.tries.order_by("try_number").last()
    result = f" {last.result.result!r}" if last is not None and hasattr(last, "result") else ""
    return f"{row.task_name} {row.state}{result}"


def claim(handle: ChainHandle) -> list[Claim]:
    return store.claim([envelope_of(handle)], lease=timedelta(seconds=60), worker="w")


def perform(held: Claim) -> Verdict:
    return Delivery(runtime()).perform(held)


def reopen(handle: ChainHandle) -> None:
    assert store.reopen(handle.id) is not None


def bell_of(attempt: TaskExecutionTry) -> Envelope:
    return Envelope(
        try_id=attempt.pk,
        execution_id=attempt.task_execution_id,
        queue_name=attempt.task_execution.queue_name,
    )
