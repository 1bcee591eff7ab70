"""``python manage.py i3tasks_worker --queue=heavy``: a pull worker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from i3tasks_core.errors import I3TasksError
from i3tasks_django.pulling import CONCURRENCY, work
from i3tasks_django.service import HIGHEST_PORT, one_line, prepare


class Command(BaseCommand):
    help = "Pull and run the tasks of one pull queue until Ctrl+C or SIGTERM; the i3tasks-worker service."
    requires_system_checks = ()  # prepare() asks ours, and says in one line what is wrong

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--queue", help="name of a PullQueue in I3TASKS; or set I3TASKS_QUEUE")
        parser.add_argument(
            "--concurrency",
            type=int,
            help=f"tasks at a time; or set I3TASKS_CONCURRENCY ({CONCURRENCY})",
        )

        parser.add_argument(
            "--health-port",
            type=int,
            help="serve probes and figures there; or set I3TASKS_HEALTH_PORT (not served)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        concurrency = options["concurrency"]
        if concurrency is not None and concurrency < 1:
            raise CommandError(f"--concurrency is {concurrency}: write 1 or more")
        port = options["health_port"]
        if port is not None and not 0 <= port <= HIGHEST_PORT:
            raise CommandError(f"--health-port is {port}: write a whole number from 0 to {HIGHEST_PORT}")
        try:
            prepare()
            code = work(options["queue"], concurrency, port)
        except I3TasksError as error:
            raise CommandError(one_line(str(error))) from error
        if code:
            raise SystemExit(code)
