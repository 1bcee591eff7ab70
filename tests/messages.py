"""Messages as Pub/Sub would bring them, and short ways to take one to its end."""

from __future__ import annotations

import base64
import json
from typing import Any

from i3tasks_core.envelope import Envelope, encode
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_django import ChainHandle
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
