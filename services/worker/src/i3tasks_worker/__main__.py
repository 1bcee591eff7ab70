"""``i3tasks-worker --queue=heavy``: pull and run the tasks of one queue."""

from __future__ import annotations

import sys

import click

from i3tasks_django.service import environment_number, leave, start

SERVICE = "i3tasks-worker"


@click.command()
@click.option("--queue", "queue_name", envvar="I3TASKS_QUEUE", help="Name of a PullQueue in I3TASKS.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    envvar="I3TASKS_CONCURRENCY",
    help="Tasks at a time; 8 by default.",
)
def main(queue_name: str | None, concurrency: int | None) -> None:
    """Pull and run the tasks of one queue until SIGTERM or Ctrl+C.

    Reads DJANGO_SETTINGS_MODULE, I3TASKS_QUEUE, I3TASKS_CONCURRENCY, I3TASKS_GRACE_SECONDS and
    I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    if not queue_name:
        leave(SERVICE, "no queue is named: write --queue=NAME or set I3TASKS_QUEUE")
    # Nothing of Django's may be imported before start() has set it up.
    from i3tasks_core.errors import I3TasksError
    from i3tasks_django import pulling

    try:
        queue = pulling.pull_queue(queue_name)
    except I3TasksError as error:
        leave(SERVICE, str(error))
    grace = environment_number(SERVICE, "I3TASKS_GRACE_SECONDS", int(pulling.GRACE))
    sys.exit(pulling.run_worker(queue, concurrency=concurrency or pulling.CONCURRENCY, grace=float(grace)))


if __name__ == "__main__":
    main()
