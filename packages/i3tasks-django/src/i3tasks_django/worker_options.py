"""What a worker is told, by its command line and its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from i3tasks_core.config import PullQueue
from i3tasks_core.errors import I3TasksError
from i3tasks_django.runtime import runtime
from i3tasks_django.service import GRACE, HIGHEST_PORT, CannotStart, environment_number

CONCURRENCY = 8
HEALTH_PORT = "I3TASKS_HEALTH_PORT"


class NotAPullQueue(I3TasksError, ValueError):
    """A worker was asked for a queue that Pub/Sub pushes."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(
            f"queue {queue_name!r} is a PushQueue, which Pub/Sub delivers to the receiver: "
            "name a PullQueue of I3TASKS.other_queues"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How to work.

    Attributes:
        queue: whose messages to pull.
        concurrency: tries at a time, in each process.
        grace: seconds the running tries are given at the end.
        health_port: where the health sidecar listens; None runs without it.
        process_count: processes that share the queue's work: more than one for tasks that compute.
        max_tasks: a process that has begun so many tries ends, for a supervisor to replace; None for never.
        max_rss: the same for one that takes so many MiB of memory.
    """

    queue: PullQueue
    concurrency: int = CONCURRENCY
    grace: float = GRACE
    health_port: int | None = None
    process_count: int = 1
    max_tasks: int | None = None
    max_rss: int | None = None


def worker_options(
    *,
    queue: str | None = None,
    concurrency: int | None = None,
    health_port: int | None = None,
    processes: int | None = None,
    max_tasks: int | None = None,
    max_rss: int | None = None,
) -> WorkerOptions:
    """What the command line says; where it says nothing, the environment.

    Environment: ``I3TASKS_QUEUE``, ``I3TASKS_CONCURRENCY``, ``I3TASKS_GRACE_SECONDS``,
    ``I3TASKS_HEALTH_PORT``, ``I3TASKS_PROCESSES``, ``I3TASKS_MAX_TASKS``, ``I3TASKS_MAX_RSS``.

    Raises:
        CannotStart: no queue is named, or a number is none.
        UnknownQueue: the settings list no such queue.
        NotAPullQueue: it is a push queue.
    """
    name = queue or os.environ.get("I3TASKS_QUEUE")
    if not name:
        raise CannotStart("no queue is named: write --queue=NAME or set I3TASKS_QUEUE")
    if health_port is None and os.environ.get(HEALTH_PORT):
        health_port = environment_number(HEALTH_PORT, 0, most=HIGHEST_PORT)
    return WorkerOptions(
        queue=pull_queue(name),
        concurrency=concurrency or environment_number("I3TASKS_CONCURRENCY", CONCURRENCY, least=1),
        grace=environment_number("I3TASKS_GRACE_SECONDS", GRACE),
        health_port=health_port,
        process_count=processes or environment_number("I3TASKS_PROCESSES", 1, least=1),
        max_tasks=max_tasks or environment_number("I3TASKS_MAX_TASKS", 0) or None,
        max_rss=max_rss or environment_number("I3TASKS_MAX_RSS", 0) or None,
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
