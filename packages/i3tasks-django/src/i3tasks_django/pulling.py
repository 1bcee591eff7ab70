"""Run a pull worker in this process until a signal ends it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time

from django.db import connections

from i3tasks_core import events, names
from i3tasks_core.config import PullQueue
from i3tasks_core.errors import PubSubError
from i3tasks_core.pubsub.subscriber import Received, Subscriber
from i3tasks_core.worker import LONG_POLL, Worker
from i3tasks_django import ringing
from i3tasks_django.beating import SideBeat, pubsub_is_away
from i3tasks_django.delivery import Delivery
from i3tasks_django.publishing import declare, declare_in_background
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.sidecar import serve_health
from i3tasks_django.signals import StopRequest
from i3tasks_django.supervising import resident_mib, supervise, supervisor
from i3tasks_django.worker_options import HEALTH_PORT, WorkerOptions

HANGING_AFTER = LONG_POLL + 20.0
"""Seconds after which a pull is taken for one that never ends."""

LAST_WAIT = 2.0
"""Seconds that the end of the process waits for threads of the tasks' own."""


def work(options: WorkerOptions) -> int:
    """Run the worker that the options ask for: the service's and ``manage.py i3tasks_worker``'s.

    Returns:
        The exit code.

    Raises:
        CannotStart: the health port is taken.
    """
    if options.process_count > 1 and not supervisor():
        return supervise(options)
    return run_worker(options)


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


def run_worker(options: WorkerOptions) -> int:
    """Work in this process until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    A process of a supervisor's leaves health and maintenance to that, and ends with it.

    Returns:
        The exit code.

    Raises:
        CannotStart: the health port is taken.
    """
    source = DeclaredFirst(runtime(), options.queue)
    worker = make_worker(options.queue, source, options.concurrency)
    beat = SideBeat()
    stopping = StopRequest()
    detail = f"queue={options.queue.queue_name} concurrency={options.concurrency}"
    if options.health_port is not None and not supervisor():
        detail += f" health_port={_serve_health(options.health_port, worker, source, beat)}"
    source.declare()
    # What the imports leave never goes away; without this every full collection walks over all of it, which
    # costs a tenth of what the worker does.
    gc.freeze()
    worker.start()
    if not supervisor():
        beat.start()
    events.SERVICE_STARTED(service="worker", detail=detail)
    while not stopping.wait(1.0) and (worn := _is_worn(worker, options)) is None:
        pass
    events.SERVICE_STOPPING(service="worker", detail=detail if stopping.is_set() else f"{detail}: {worn}")
    code = 0 if stopping.is_set() or worker.is_alive() else 1
    beat.stop()
    left = worker.stop(options.grace)
    events.SERVICE_STOPPED(service="worker", running_count=left)
    if left:
        ringing.flush(1.0)  # what has ended has its next steps, and nothing rings after the next line
        # Threads cannot be stopped: only the process's end frees their leases for others.
        sys.stdout.flush()
        os._exit(code)
    beat.ends(1.0)  # a pass takes milliseconds; one that hangs must not keep the process
    _end_in_time(code)
    return code


def _end_in_time(code: int) -> None:
    """The interpreter waits for threads that are no daemons, and one that a task has left may never end."""
    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        threading.Thread(target=_end_after, args=(LAST_WAIT, code), name="i3tasks-end", daemon=True).start()


def _end_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    ringing.flush(1.0)
    sys.stdout.flush()
    os._exit(code)


def _is_worn(worker: Worker, options: WorkerOptions) -> str | None:
    """Why this process should make room for another one; None while it should not."""
    if not worker.is_alive():
        return "the pull loop has ended"
    if options.max_tasks is not None and worker.started_count >= options.max_tasks:
        return f"it has begun {worker.started_count} tasks"
    if options.max_rss is not None and (rss := resident_mib()) > options.max_rss:
        return f"it takes {rss} MiB"
    if supervisor() not in (None, os.getppid()):
        return "its supervisor is gone"
    return None


def _serve_health(port: int, worker: Worker, source: DeclaredFirst, beat: SideBeat) -> int:
    def is_live() -> str | None:
        return source.hangs() if worker.is_alive() else "the pull loop has ended"

    return serve_health(
        port, HEALTH_PORT, is_live=is_live, ready=[source.fails, pubsub_is_away], metrics=beat.metrics
    )


def _subscription(current: Runtime, queue: PullQueue) -> str:
    subscription = names.subscription_id(current.config.namespace, queue.queue_name, queue.subscription_name)
    return names.subscription_path(current.pubsub.project_id, subscription)
