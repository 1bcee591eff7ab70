"""System checks: every wrong setting at once, with an id, the field's name and what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from i3tasks_core.config import AnyQueue, PushQueue, Schedule
from i3tasks_core.problem import Problem
from i3tasks_core.registry import conflicts, registered
from i3tasks_django import runtime
from i3tasks_django.database_problems import database_problems, database_warnings
from i3tasks_django.decorator import ASYNC_GRACE
from i3tasks_django.task import Task, find_task

TAG = "i3tasks"

LONGEST_PUSH = timedelta(seconds=570)
"""Pub/Sub waits 600 s for an answer; what is left is for writing the end."""


def check_all(**_: Any) -> list[checks.CheckMessage]:
    """Registered with Django; the services ask for what is no warning before they start."""
    return [
        *(checks.Error(**_message(problem)) for problem in problems()),
        *(checks.Warning(**_message(problem)) for problem in warnings()),
    ]


def problems() -> list[Problem]:
    """Everything that keeps i3tasks from working in this project."""
    found = runtime.problems()
    queues = () if found else settings.I3TASKS.queues
    schedules = () if found else settings.I3TASKS.schedules
    return [
        *found,
        *_project_problems(),
        *database_problems(),
        *_task_problems(queues),
        *_schedule_problems(schedules, queues),
    ]


def warnings() -> list[Problem]:
    """What works, but not as one might think; nothing while the settings are wrong."""
    return [] if runtime.problems() else list(database_warnings(settings.I3TASKS))


def _message(problem: Problem) -> dict[str, str]:
    return {
        "msg": f"{problem.field} {problem.message}.",
        "hint": f"{problem.hint[0].upper()}{problem.hint[1:]}.",
        "id": f"i3tasks.{problem.code}",
    }


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


def _task_problems(queues: Sequence[AnyQueue]) -> Iterator[Problem]:
    names = {queue.queue_name for queue in queues}
    for name, places in conflicts().items():
        yield Problem(
            code="E028",
            field=f"@task {name}",
            message=f"names two functions, in {places[0]} and in {places[1]}",
            hint="rename one: a worker knows a task by its module and name",
        )
    pushed = _pushed(queues)
    for definition in registered() if names else ():
        field = f"@task {definition.full_name}"
        if definition.queue_name not in names:
            yield Problem(
                code="E026",
                field=f"{field} queue_name",
                message=f"is {definition.queue_name!r}",
                hint=f"write one of {', '.join(map(repr, sorted(names)))}, or add the queue to "
                "I3TASKS.other_queues",
            )
        task = find_task(definition.path, definition.name)
        if task is not None and definition.queue_name in pushed:
            yield from _length_problems(f"{field} timeout", task, definition.queue_name)


def _length_problems(field: str, task: Task[..., Any], queue_name: str) -> Iterator[Problem]:
    timeout = _timeout(task)
    if timeout is not None and timeout > LONGEST_PUSH:
        yield Problem(
            code="E036",
            field=field,
            message=f"is {timeout.total_seconds():g} s, and {queue_name!r} is a push queue",
            hint=f"write at most {LONGEST_PUSH.total_seconds():g} s, Pub/Sub's limit for a push, or put it "
            "on a PullQueue, where a task may run for days",
        )


def _timeout(task: Task[..., Any]) -> timedelta | None:
    """As it was written."""
    timeout = task.definition.timeout
    is_async = inspect.iscoroutinefunction(getattr(task, "__wrapped__", None))
    return timeout - ASYNC_GRACE if timeout is not None and is_async else timeout


def _pushed(queues: Sequence[AnyQueue]) -> set[str]:
    return {queue.queue_name for queue in queues if isinstance(queue, PushQueue)}


def _schedule_problems(schedules: Sequence[Schedule], queues: Sequence[AnyQueue]) -> Iterator[Problem]:
    pushed = _pushed(queues)
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
        if schedule.queue_name in pushed and schedule.queue_name != task.queue_name:
            yield from _length_problems(f"{field}: the timeout of its task", task, schedule.queue_name)
