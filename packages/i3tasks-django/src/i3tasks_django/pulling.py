"""Run a pull worker in this process until a signal ends it."""

from __future__ import annotations

import os
import sys
import threading
import time

from django.db import connections

from i3tasks_core import events, names
from i3tasks_core.config import PullQueue
from i3tasks_core.errors import I3TasksError, PubSubError
from i3tasks_core.pubsub.subscriber import Received, Subscriber
from i3tasks_core.worker import LONG_POLL, Worker
from i3tasks_django.beating import SideBeat, pubsub_is_away
from i3tasks_django.delivery import Delivery
from i3tasks_django.publishing import declare, declare_in_background
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.service import HIGHEST_PORT, CannotStart, environment_number
from i3tasks_django.sidecar import serve_health
from i3tasks_django.signals import StopRequest

CONCURRENCY = 8
GRACE = 8
"""Seconds: Cloud Run and docker stop kill ten seconds after SIGTERM."""

PORT = "I3TASKS_HEALTH_PORT"
HANGING_AFTER = LONG_POLL + 20.0
"""Seconds after which a pull is taken for one that never ends."""


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


def work(queue_name: str | None, concurrency: int | None, health_port: int | None = None) -> int:
    """Run the worker that the options ask for: the service's and ``manage.py i3tasks_worker``'s.

    Args:
        queue_name: None takes ``I3TASKS_QUEUE``.
        concurrency: None takes ``I3TASKS_CONCURRENCY``, or 8.
        health_port: None takes ``I3TASKS_HEALTH_PORT``, or runs without the sidecar.

    Environment: ``I3TASKS_GRACE_SECONDS`` too.

    Returns:
        The exit code.

    Raises:
        CannotStart: no queue is named, a number is none, or the port is taken.
        UnknownQueue: the settings list no such queue.
        NotAPullQueue: it is a push queue.
    """
    name = queue_name or os.environ.get("I3TASKS_QUEUE")
    if not name:
        raise CannotStart("no queue is named: write --queue=NAME or set I3TASKS_QUEUE")
    if health_port is None and os.environ.get(PORT):
        health_port = environment_number(PORT, 0, most=HIGHEST_PORT)
    return run_worker(
        pull_queue(name),
        concurrency=concurrency or environment_number("I3TASKS_CONCURRENCY", CONCURRENCY, least=1),
        grace=environment_number("I3TASKS_GRACE_SECONDS", GRACE),
        health_port=health_port,
    )


class DeclaredFirst(Subscriber):
    """A subscription whose first pull waits for the first attempt to declare it.

    Otherwise the log of every new project would begin with a warning that there is no such subscription.
    """

    def __init__(self, current: Runtime, queue: PullQueue) -> None:
        super().__init__(current.clients, _subscription(current, queue))
        self._is_tried = threading.Event()
        self._pulling_since: float | None = None
        self._failure: str | None = None

    def declare(self) -> None:
        """Declare everything in the background, as every serving process does when it starts."""
        threading.Thread(target=self._declare, name="i3tasks-declare-first", daemon=True).start()

    def pull(self, max_messages: int, timeout: float) -> list[Received]:
        self._is_tried.wait()
        self._pulling_since = time.monotonic()
        try:
            received = super().pull(max_messages, timeout)
        except PubSubError as error:
            self._failure = type(error).__name__
            raise
        finally:
            self._pulling_since = None
        self._failure = None
        return received

    def hangs(self) -> str | None:
        """A health check: whether a pull takes longer than any does."""
        since = self._pulling_since
        lasts = 0.0 if since is None else time.monotonic() - since
        return f"a pull has not ended for {lasts:.0f} s" if lasts > HANGING_AFTER else None

    def fails(self) -> str | None:
        """A health check: what became of the last pull."""
        failure = self._failure
        return f"the last pull failed: {failure}" if failure else None

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


def run_worker(
    queue: PullQueue,
    *,
    concurrency: int = CONCURRENCY,
    grace: float = GRACE,
    health_port: int | None = None,
) -> int:
    """Work until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    Args:
        queue: whose messages to pull.
        concurrency: tries at a time.
        grace: seconds the running tries are given at the end.
        health_port: where the health sidecar listens; None runs without it.

    Returns:
        The exit code.

    Raises:
        CannotStart: the port is taken.
    """
    source = DeclaredFirst(runtime(), queue)
    worker = make_worker(queue, source, concurrency)
    beat = SideBeat()
    stopping = StopRequest()
    detail = f"queue={queue.queue_name} concurrency={concurrency}"
    if health_port is not None:
        detail += f" health_port={_serve_health(health_port, worker, source, beat)}"
    source.declare()
    worker.start()
    beat.start()
    events.SERVICE_STARTED(service="worker", detail=detail)
    while not stopping.wait(1.0) and worker.is_alive():
        pass
    events.SERVICE_STOPPING(service="worker", detail=detail)
    code = 0 if stopping.is_set() else 1
    beat.stop()
    left = worker.stop(grace)
    events.SERVICE_STOPPED(service="worker", running_count=left)
    if left:
        # Threads cannot be stopped: only the process's end frees their leases for others.
        sys.stdout.flush()
        os._exit(code)
    beat.join(1.0)  # a pass takes milliseconds; one that hangs must not keep the process
    return code


def _serve_health(port: int, worker: Worker, source: DeclaredFirst, beat: SideBeat) -> int:
    def is_live() -> str | None:
        return source.hangs() if worker.is_alive() else "the pull loop has ended"

    return serve_health(
        port, PORT, is_live=is_live, ready=[source.fails, pubsub_is_away], metrics=beat.metrics
    )


def _subscription(current: Runtime, queue: PullQueue) -> str:
    subscription = names.subscription_id(current.config.namespace, queue.queue_name, queue.subscription_name)
    return names.subscription_path(current.pubsub.project_id, subscription)
