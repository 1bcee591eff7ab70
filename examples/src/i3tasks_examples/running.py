"""One run of the demo: start everything, make the calls, watch, conclude."""

from __future__ import annotations

import logging
import os
import platform
import re
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import django
from django.core.management import call_command

from i3tasks_core.states import ExecutionState
from i3tasks_examples.errors import DemoFailed
from i3tasks_examples.interrupts import Interrupts
from i3tasks_examples.processes import GRACE_SECONDS, Service, Services, answers, free_port
from i3tasks_examples.progress import Progress
from i3tasks_examples.survey import library

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from i3tasks_django.models import TaskExecution, TaskGroup
    from i3tasks_examples.survey.measures import Measures

_PUBSUB_READY = re.compile(r"^PUBSUB_EMULATOR_HOST=(\S+) ", re.MULTILINE)
_WORKER_READY = re.compile(r"(service_started)")
_BEAT_READY = re.compile(r"health_port=(\d+)")
_TICK = 0.2
_USER = "admin"

# Tries at a time, in the receiver and in the worker. Parsing keeps a core busy, and SQLite has one writer:
# more would only wait for each other.
_CONCURRENCY = "4"


class Run:
    """One run.

    Args:
        folder: for the database and the logs.
        interrupts: a signal ends the run at the next step.
        limit: so many modules only; None takes all.
        seconds: how long the tasks may take, from now.
        is_staying: also prepare an admin.
    """

    def __init__(
        self, folder: Path, interrupts: Interrupts, *, limit: int | None, seconds: float, is_staying: bool
    ) -> None:
        self._folder = folder
        self._interrupts = interrupts
        self._services = Services(folder, interrupts)
        self._limit = limit
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._password = secrets.token_urlsafe(9) if is_staying else ""
        self._receiver_port, self._site_port = free_port(), free_port()
        self._environment = _clean_environment() | {
            "DJANGO_SETTINGS_MODULE": "i3tasks_examples.settings",
            "PYTHONUNBUFFERED": "1",
            "I3TASKS_GRACE_SECONDS": str(GRACE_SECONDS),
            "EXAMPLE_SECRET_KEY": secrets.token_urlsafe(50),
            "EXAMPLE_DATABASE": str(folder / "survey.sqlite3"),
            "EXAMPLE_PUSH_ENDPOINT": f"http://127.0.0.1:{self._receiver_port}/i3/tasks-push/",
        }

    def start(self) -> None:
        """Everything up and ready."""
        self._announce()
        self._start_pubsub()
        self._set_up_django()
        self._start_services()

    def survey(self) -> None:
        """Make all calls, and see them through."""
        from i3tasks_examples.survey import calls

        modules = library.surveyed(self._limit)
        calls.ask_too_early()
        self._services.wait_for("the first try of the first call", _first_try_has_ended)
        packages = calls.ask_for_survey(modules)
        progress = Progress(calls.task_count(modules), packages.total_count, sys.stderr)
        # What follows a task is called as the task ends: when nothing is pending, nothing will follow.
        while unfinished_count := _unfinished().count():
            _show(progress, packages)
            self._services.check()
            self._check_time(unfinished_count)
            self._interrupts.pause(_TICK)
        _show(progress, packages)
        progress.close()

    def conclude(self, report_path: Path) -> None:
        """Print the summary, write the report, and see whether all is as promised."""
        from i3tasks_examples import summary
        from i3tasks_examples.survey.measures import measure
        from i3tasks_examples.survey.report import render

        measures = measure()
        for line in summary.lines(measures):
            say(line)
        try:
            report_path.write_text(render(measures), encoding="utf-8")
        except OSError as error:
            raise DemoFailed(f"the report cannot be written: {error}") from error
        say(f"  report        {report_path}")
        _check_tasks(measures)
        _check_reports(library.surveyed(self._limit))
        self._interrupts.check()

    def stay(self) -> None:
        """Serve the admin, and leave everything up until a signal comes."""
        self._start_site()
        say("")
        say(f"  admin         http://127.0.0.1:{self._site_port}/admin/")
        say(f"  log-in        user {_USER}, password {self._password}")
        say(f"  health        http://127.0.0.1:{self._receiver_port}/i3/tasks-health/")
        say("Everything stays up. Press Ctrl+C to stop it.")
        while True:
            self._services.check()
            self._interrupts.pause(1.0)

    def stop(self) -> None:
        """Leave no process behind."""
        self._services.stop()

    def _announce(self) -> None:
        modules = library.surveyed(self._limit)
        say(
            f"Surveying {len(modules)} modules of Python {platform.python_version()}'s standard library, and "
            f"{len(library.unparsable())} files that are not Python."
        )
        say(f"Half by push, half by pull; one group for each of {len(library.by_package(modules))} packages.")
        say(f"Folders left out: {', '.join(library.LEFT_OUT)}.")

    def _start_pubsub(self) -> None:
        pubsub = self._start("pubsub", "i3tasks_emulator", "--port", "0")
        self._environment["EXAMPLE_PUBSUB"] = self._services.wait_for(
            "the start of the embedded Pub/Sub", lambda: _found(_PUBSUB_READY, pubsub)
        )
        self._tell("Pub/Sub", self._environment["EXAMPLE_PUBSUB"])

    def _set_up_django(self) -> None:
        """This process is a part of the project too: it makes the tables, the topics and the calls."""
        logging.basicConfig(filename=self._folder / "demo.log", level=logging.INFO)
        os.environ.clear()
        os.environ.update(self._environment)
        django.setup()
        self._interrupts.check()
        call_command("migrate", verbosity=0)
        self._interrupts.check()
        if self._password:
            _create_admin(self._password)
        self._tell("database", self._environment["EXAMPLE_DATABASE"])

    def _start_services(self) -> None:
        self._start(
            "receiver", "i3tasks_receiver", PORT=str(self._receiver_port), I3TASKS_THREADS=_CONCURRENCY
        )
        worker = self._start("worker", "i3tasks_worker", "--queue=heavy", f"--concurrency={_CONCURRENCY}")
        beat = self._start("beat", "i3tasks_beat", PORT="0")
        # Before the first call, or its message would find no subscription to wait in.
        with (self._folder / "topics.log").open("w") as output:
            call_command("i3tasks_ensure_pubsub", stdout=output)
        self._wait_for_address("receiver", f"http://127.0.0.1:{self._receiver_port}/health/ready")
        self._services.wait_for("the start of the worker", lambda: _found(_WORKER_READY, worker))
        self._tell("worker", "pulls queue 'heavy'")
        port = self._services.wait_for("the start of the beat", lambda: _found(_BEAT_READY, beat))
        self._wait_for_address("beat", f"http://127.0.0.1:{port}/health/ready")

    def _start_site(self) -> None:
        address = f"127.0.0.1:{self._site_port}"
        # --insecure: serve the admin's style sheets although DEBUG is off.
        self._start("site", "django", "runserver", "--noreload", "--insecure", address)
        url = f"http://{address}/admin/login/"
        self._services.wait_for("the start of the admin", lambda: answers(url))

    def _start(self, name: str, *arguments: str, **environment: str) -> Service:
        return self._services.start(name, *arguments, environment=self._environment | environment)

    def _wait_for_address(self, name: str, url: str) -> None:
        self._services.wait_for(f"the start of the {name}", lambda: answers(url))
        self._tell(name, url)

    def _tell(self, name: str, where: str) -> None:
        say(f"  {name:13} {where}")

    def _check_time(self, left_count: int) -> None:
        if time.monotonic() > self._deadline:
            raise DemoFailed(
                f"{left_count} tasks are unfinished after {self._seconds:g} s, among them "
                + ", ".join(_some_unfinished())
            )


def say(line: str) -> None:
    """Print a line now, also into a pipe."""
    print(line, flush=True)


def _clean_environment() -> dict[str, str]:
    """Ours, without what would change the services' behaviour."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EXAMPLE_", "I3TASKS_", "DJANGO_", "GUNICORN_", "PUBSUB_"))
    }


def _found(pattern: re.Pattern[str], service: Service) -> str | None:
    """What the pattern's group matches in a service's output, once it does."""
    found = pattern.search(service.written())
    return found[1] if found else None


def _create_admin(password: str) -> None:
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_superuser(_USER, "", password)


def _show(progress: Progress, packages: TaskGroup) -> None:
    from i3tasks_django.models import TaskExecution

    packages.refresh_from_db()
    ended = TaskExecution.objects.exclude(state=ExecutionState.PENDING)
    progress.show(ended.count(), packages.completed_count)


def _unfinished() -> QuerySet[TaskExecution]:
    from i3tasks_django.models import TaskExecution

    return TaskExecution.objects.filter(state=ExecutionState.PENDING)


def _first_try_has_ended() -> bool | None:
    from i3tasks_django.models import TaskExecutionTry

    return TaskExecutionTry.objects.exclude(finished_at=None).exists() or None


def _some_unfinished() -> list[str]:
    unfinished = _unfinished().order_by("pk")[:5]
    return [f"{row.task_name}({', '.join(map(repr, row.task_args))})" for row in unfinished]


def _check_tasks(measures: Measures) -> None:
    """Two files fail at once, one task at its first try only, and everything else succeeds.

    Raises:
        DemoFailed: says what was otherwise.
    """
    failures = sorted((each.subject, each.error_class, each.try_number) for each in measures.failures)
    expected = [(library.name_of(path), "SyntaxError", 1) for path in library.unparsable()]
    if failures != expected:
        raise DemoFailed(f"these should have failed: {expected}; these did: {failures}")
    if not any(attempt.is_last for attempt in measures.retried):
        raise DemoFailed("no task was tried a second time")


def _check_reports(modules: Sequence[Path]) -> None:
    """The overall report covers all modules, and the failures were heard of.

    Raises:
        DemoFailed: it does not, or they were not.
    """
    from i3tasks_examples.survey.models import LibraryReport, UnparsableFile

    reported = [report.module_count for report in LibraryReport.objects.all()]
    if reported != [len(modules)]:
        raise DemoFailed(f"one report should cover {len(modules)} modules; there are some on: {reported}")
    noted = sorted(UnparsableFile.objects.values_list("name", flat=True))
    if noted != [library.name_of(path) for path in library.unparsable()]:
        raise DemoFailed(f"the files noted as unparsable are: {noted}")
