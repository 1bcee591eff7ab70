"""``python manage.py i3tasks_worker --queue=heavy``: a pull worker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from i3tasks_core.errors import I3TasksError
from i3tasks_django.pulling import CONCURRENCY, pull_queue, run_worker


class Command(BaseCommand):
    help = "Pull and run the tasks of one pull queue until Ctrl+C or SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--queue", required=True, help="name of a PullQueue in I3TASKS")
        parser.add_argument(
            "--concurrency", type=int, default=CONCURRENCY, help="tasks at a time (%(default)s)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["concurrency"] < 1:
            raise CommandError(f"--concurrency is {options['concurrency']}: write 1 or more")
        try:
            queue = pull_queue(options["queue"])
        except I3TasksError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Working on queue {queue.queue_name!r}. Press Ctrl+C to stop.")
        if code := run_worker(queue, concurrency=options["concurrency"]):
            raise SystemExit(code)
