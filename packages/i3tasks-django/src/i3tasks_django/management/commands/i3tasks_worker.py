"""``python manage.py i3tasks_worker --queue=heavy``: a pull worker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from i3tasks_core.errors import I3TasksError
from i3tasks_django.pulling import work
from i3tasks_django.service import HIGHEST_PORT, one_line, prepare
from i3tasks_django.worker_options import CONCURRENCY, worker_options

_NUMBERS = {
    "concurrency": f"tasks at a time in each process; or set I3TASKS_CONCURRENCY ({CONCURRENCY})",
    "processes": "processes, for tasks that compute; or set I3TASKS_PROCESSES (1)",
    "max_tasks": "end a process that has begun so many tasks; or set I3TASKS_MAX_TASKS (never)",
    "max_rss": "end a process that takes so many MiB of memory; or set I3TASKS_MAX_RSS (never)",
}


class Command(BaseCommand):
    help = "Pull and run the tasks of one pull queue until Ctrl+C or SIGTERM; the i3tasks-worker service."
    requires_system_checks = ()  # prepare() asks ours, and says in one line what is wrong

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--queue", help="name of a PullQueue in I3TASKS; or set I3TASKS_QUEUE")
        for name, text in _NUMBERS.items():
            parser.add_argument(_option(name), type=int, help=text)
        parser.add_argument(
            "--health-port",
            type=int,
            help="serve probes and figures there; or set I3TASKS_HEALTH_PORT (not served)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        for name in _NUMBERS:
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"{_option(name)} is {options[name]}: write 1 or more")
        port = options["health_port"]
        if port is not None and not 0 <= port <= HIGHEST_PORT:
            raise CommandError(f"--health-port is {port}: write a whole number from 0 to {HIGHEST_PORT}")
        given = {name: options[name] for name in ("queue", "health_port", *_NUMBERS)}
        try:
            prepare()
            code = work(worker_options(**given))
        except I3TasksError as error:
            raise CommandError(one_line(str(error))) from error
        if code:
            raise SystemExit(code)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
