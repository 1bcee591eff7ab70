"""Run a pull worker in this process until a signal ends it."""

from __future__ import annotations

import os
import sys
import threading

from django.db import connections

from i3tasks_core import events, names
from i3tasks_core.config import PullQueue
from i3tasks_core.errors import I3TasksError
from i3tasks_core.pubsub.subscriber import Received, Subscriber
from i3tasks_core.worker import Worker
from i3tasks_django.delivery import Delivery
from i3tasks_django.publishing import declare, declare_in_background
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.service import CannotStart, environment_number
from i3tasks_django.signals import StopRequest

CONCURRENCY = 8
GRACE = 8
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


def work(queue_name: str | None, concurrency: int | None) -> int:
    """Run the worker that the options ask for: the service's and ``manage.py i3tasks_worker``'s.

    Args:
        queue_name: None takes ``I3TASKS_QUEUE``.
        concurrency: None takes ``I3TASKS_CONCURRENCY``, or 8.

    Environment: ``I3TASKS_GRACE_SECONDS`` too.

    Returns:
        The exit code.

    Raises:
        CannotStart: no queue is named, or a number is none.
        UnknownQueue: the settings list no such queue.
        NotAPullQueue: it is a push queue.
    """
    name = queue_name or os.environ.get("I3TASKS_QUEUE")
    if not name:
        raise CannotStart("no queue is named: write --queue=NAME or set I3TASKS_QUEUE")
    return run_worker(
        pull_queue(name),
        concurrency=concurrency or environment_number("I3TASKS_CONCURRENCY", CONCURRENCY, least=1),
        grace=environment_number("I3TASKS_GRACE_SECONDS", GRACE),
    )


class DeclaredFirst(Subscriber):
    """A subscription whose first pull waits for the first attempt to declare it.

    Otherwise the log of every new project would begin with a warning that there is no such subscription.
    """

    def __init__(self, current: Runtime, queue: PullQueue) -> None:
        super().__init__(current.clients, _subscription(current, queue))
        self._is_tried = threading.Event()

    def declare(self) -> None:
        """Declare everything in the background, as every serving process does when it starts."""
        threading.Thread(target=self._declare, name="i3tasks-declare-first", daemon=True).start()

    def pull(self, max_messages: int, timeout: float) -> list[Received]:
        self._is_tried.wait()
        return super().pull(max_messages, timeout)

    def close(self) -> None:
        super().close()
        self._is_tried.set()  # a worker that is told to stop waits for no Pub/Sub

    def _declare(self) -> None:
        try:
            if runtime().config.run_queue_create_command_on_startup and not declare():
                declare_in_background()  # Pub/Sub is away: until it is back
        finally:
            self._is_tried.set()
            connections.close_all()


def make_worker(queue: PullQueue, source: Subscriber, concurrency: int) -> Worker:
    current = runtime()

    def redeclare() -> None:
        if current.config.run_queue_create_command_on_startup:
            declare([queue])

    return Worker(
        source=source,
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
    source = DeclaredFirst(runtime(), queue)
    worker = make_worker(queue, source, concurrency)
    stopping = StopRequest()
    source.declare()
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
