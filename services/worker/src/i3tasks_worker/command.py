"""``i3tasks-worker --queue=heavy``: pull and run the tasks of one queue."""

from __future__ import annotations

import sys

import click

from i3tasks_django.service import HIGHEST_PORT, leaving, start

SERVICE = "i3tasks-worker"


@click.command()
@click.option("--queue", "queue_name", help="Name of a PullQueue in I3TASKS.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Tasks at a time; 8 by default.")
@click.option(
    "--health-port",
    type=click.IntRange(0, HIGHEST_PORT),
    help="Serve probes and figures there; not by default.",
)
def work(queue_name: str | None, concurrency: int | None, health_port: int | None) -> None:
    """Pull and run the tasks of one queue until SIGTERM or Ctrl+C.

    Reads DJANGO_SETTINGS_MODULE, I3TASKS_QUEUE, I3TASKS_CONCURRENCY, I3TASKS_GRACE_SECONDS,
    I3TASKS_HEALTH_PORT and I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    # Nothing of Django's may be imported before start() has set it up.
    from i3tasks_django import pulling

    with leaving(SERVICE):
        sys.exit(pulling.work(queue_name, concurrency, health_port))
