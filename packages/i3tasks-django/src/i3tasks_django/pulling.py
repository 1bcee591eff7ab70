"""Run a pull worker in this process until a signal ends it."""

from __future__ import annotations

import os
import sys

from i3tasks_core import events, names
from i3tasks_core.config import PullQueue
from i3tasks_core.errors import I3TasksError
from i3tasks_core.pubsub.subscriber import Subscriber
from i3tasks_core.worker import Worker
from i3tasks_django.delivery import Delivery
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.signals import StopRequest

CONCURRENCY = 8
GRACE = 8.0
"""Seconds: Cloud Run and docker stop kill ten seconds after SIGTERM."""


class NotAPullQueue(I3TasksError, ValueError):
    """A worker was asked for a queue that Pub/Sub pushes."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(
            f"queue {queue_name!r} is a PushQueue, which Pub/Sub delivers to the receiver: "
            "name a PullQueue of I3TASKS.other_queues"
        )


def pull_queue(queue_name: str) -> PullQueue:
    """The pull queue of that name.

    Raises:
        UnknownQueue: the settings list no such queue.
        NotAPullQueue: it is a push queue.
    """
    queue = runtime().queue(queue_name)
    if not isinstance(queue, PullQueue):
        raise NotAPullQueue(queue_name)
    return queue


def make_worker(queue: PullQueue, concurrency: int) -> Worker:
    current = runtime()

    def redeclare() -> None:
        if current.config.run_queue_create_command_on_startup:
            declare([queue])

    return Worker(
        source=Subscriber(current.clients, _subscription(current, queue)),
        delivery=Delivery(current, queue.queue_name),
        queue_name=queue.queue_name,
        concurrency=concurrency,
        redeclare=redeclare,
    )


def run_worker(queue: PullQueue, *, concurrency: int = CONCURRENCY, grace: float = GRACE) -> int:
    """Work until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    Args:
        queue: whose messages to pull.
        concurrency: tries at a time.
        grace: seconds the running tries are given at the end.

    Returns:
        The exit code.
    """
    worker = make_worker(queue, concurrency)
    stopping = StopRequest()
    worker.start()
    detail = f"queue={queue.queue_name} concurrency={concurrency}"
    events.SERVICE_STARTED(service="worker", detail=detail)
    while not stopping.wait(1.0) and worker.is_alive():
        pass
    events.SERVICE_STOPPING(service="worker", detail=detail)
    code = 0 if stopping.is_set() else 1
    left = worker.stop(grace)
    events.SERVICE_STOPPED(service="worker", running_count=left)
    if left:
        # Threads cannot be stopped: only the process's end frees their leases for others.
        sys.stdout.flush()
        os._exit(code)
    return code


def _subscription(current: Runtime, queue: PullQueue) -> str:
    subscription = names.subscription_id(current.config.namespace, queue.queue_name, queue.subscription_name)
    return names.subscription_path(current.pubsub.project_id, subscription)
