"""``i3tasks-worker --queue=heavy``: pull and run the tasks of one queue."""

from __future__ import annotations

import sys

import click

from i3tasks_django.service import HIGHEST_PORT, leaving, start

SERVICE = "i3tasks-worker"
_POSITIVE = click.IntRange(min=1)


@click.command()
@click.option("--queue", help="Name of a PullQueue in I3TASKS.")
@click.option("--concurrency", type=_POSITIVE, help="Tasks at a time in each process; 8 by default.")
@click.option("--processes", type=_POSITIVE, help="Processes, for tasks that compute; 1 by default.")
@click.option("--max-tasks", type=_POSITIVE, help="End a process that has begun so many tasks.")
@click.option("--max-rss", type=_POSITIVE, help="End a process that takes so many MiB of memory.")
@click.option(
    "--health-port",
    type=click.IntRange(0, HIGHEST_PORT),
    help="Serve probes and figures there; not by default.",
)
def work(**given: int | str | None) -> None:
    """Pull and run the tasks of one queue until SIGTERM or Ctrl+C.

    One of several processes that ends for its age or size is replaced; a single one exits with 0.

    Reads DJANGO_SETTINGS_MODULE, I3TASKS_QUEUE, I3TASKS_CONCURRENCY, I3TASKS_PROCESSES, I3TASKS_MAX_TASKS,
    I3TASKS_MAX_RSS, I3TASKS_GRACE_SECONDS, I3TASKS_HEALTH_PORT and I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    # Nothing of Django's may be imported before start() has set it up.
    from i3tasks_django.pulling import work
    from i3tasks_django.worker_options import worker_options

    with leaving(SERVICE):
        sys.exit(work(worker_options(**given)))  # type: ignore[arg-type]
