"""System checks: every wrong setting at once, with an id, the field's name and what to write instead."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from i3tasks_core.config import AnyQueue, Schedule
from i3tasks_core.problems import Problem
from i3tasks_core.registry import conflicts, registered
from i3tasks_django import runtime
from i3tasks_django.store.database import alias
from i3tasks_django.task import find_task

TAG = "i3tasks"
_OLDEST_SQLITE = (3, 35, 0)
_LEAST_TIMEOUT = 20


def check_all(**_: Any) -> list[checks.CheckMessage]:
    """Registered with Django; also asked by the services before they start."""
    return [
        checks.Error(
            f"{problem.field} {problem.message}.", hint=_sentence(problem.hint), id=f"i3tasks.{problem.code}"
        )
        for problem in problems()
    ]


def problems() -> list[Problem]:
    """Everything that keeps i3tasks from working in this project."""
    found = runtime.problems()
    queues = () if found else settings.I3TASKS.queues
    schedules = () if found else settings.I3TASKS.schedules
    return [
        *found,
        *_project_problems(),
        *_database_problems(),
        *_task_problems(queues),
        *_schedule_problems(schedules),
    ]


def _project_problems() -> Iterator[Problem]:
    if not settings.USE_TZ:
        yield Problem(
            code="E020",
            field="USE_TZ",
            message="is False",
            hint="write USE_TZ = True: leases and schedules are kept in UTC by the database's clock",
        )

    try:
        settings.SECRET_KEY  # noqa: B018 - Django raises at the first look
    except ImproperlyConfigured:
        yield Problem(
            code="E027",
            field="SECRET_KEY",
            message="is empty",
            hint="write a long random text: messages are signed with a key made from it",
        )


def _database_problems() -> Iterator[Problem]:
    name = alias()
    field = f"DATABASES[{name!r}]"
    vendor = connections[name].vendor
    if vendor == "sqlite":
        yield from _sqlite_problems(field, connections[name].settings_dict)
    elif vendor != "postgresql":
        yield Problem(
            code="E021",
            field=f"{field}['ENGINE']",
            message=f"is {connections[name].settings_dict['ENGINE']!r}",
            hint="use PostgreSQL 13+ or SQLite: i3tasks needs partial unique constraints, RETURNING and "
            "SKIP LOCKED",
        )


def _sqlite_problems(field: str, database: dict[str, Any]) -> Iterator[Problem]:
    options = database.get("OPTIONS")
    if not isinstance(options, dict):
        options = {}
    timeout, start = options.get("timeout", 5), options.get("init_command")
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield Problem(
            code="E022",
            field=field,
            message=f"runs on SQLite {sqlite3.sqlite_version}",
            hint="use SQLite 3.35 or newer, which knows RETURNING",
        )
    if options.get("transaction_mode") != "IMMEDIATE":
        yield Problem(
            code="E023",
            field=f"{field}['OPTIONS']['transaction_mode']",
            message=f"is {options.get('transaction_mode')!r}",
            hint='write "IMMEDIATE": a deferred transaction that starts to write fails at once when '
            "another writer is at work",
        )
    if not isinstance(timeout, int | float) or timeout < _LEAST_TIMEOUT:
        yield Problem(
            code="E024",
            field=f"{field}['OPTIONS']['timeout']",
            message=f"is {timeout!r}",
            hint=f"write {_LEAST_TIMEOUT} or more seconds: writers wait for each other",
        )
    if "journal_mode=wal" not in str(start).replace(" ", "").lower():
        yield Problem(
            code="E025",
            field=f"{field}['OPTIONS']['init_command']",
            message=f"is {start!r}",
            hint='write "PRAGMA journal_mode=WAL;": readers and the writer must not block each other',
        )


def _task_problems(queues: Sequence[AnyQueue]) -> Iterator[Problem]:
    names = {queue.queue_name for queue in queues}
    for name, places in conflicts().items():
        yield Problem(
            code="E028",
            field=f"@task {name}",
            message=f"names two functions, in {places[0]} and in {places[1]}",
            hint="rename one: a worker knows a task by its module and name",
        )
    for task in registered() if names else ():
        if task.queue_name not in names:
            yield Problem(
                code="E026",
                field=f"@task {task.full_name} queue_name",
                message=f"is {task.queue_name!r}",
                hint=f"write one of {', '.join(map(repr, sorted(names)))}, or add the queue to "
                "I3TASKS.other_queues",
            )


def _schedule_problems(schedules: Sequence[Schedule]) -> Iterator[Problem]:
    for index, schedule in enumerate(schedules):
        field = f"I3TASKS.schedules[{index}]"
        task = find_task(schedule.module_name, schedule.func_name)
        if task is None:
            yield Problem(
                code="E032",
                field=field,
                message=f"names {schedule.full_name}, which is no task",
                hint="write the module and the name of a function decorated with @task, in the tasks module "
                "of an installed app",
            )
            continue
        try:
            task.check_arguments(tuple(schedule.args), dict(schedule.kwargs))
        except TypeError as error:
            yield Problem(
                code="E033",
                field=field,
                message=f"cannot be called: {error}",
                hint="write args and kwargs as the task takes them",
            )


def _sentence(hint: str) -> str:
    return hint[0].upper() + hint[1:] + "."
