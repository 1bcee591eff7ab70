"""Everything that is wrong with the schedules of the settings, told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from i3tasks_core.config import Misfire, Overlap, Schedule
from i3tasks_core.errors import ArgumentError
from i3tasks_core.payload import check_arguments
from i3tasks_core.problems import Problem
from i3tasks_core.registry import MAX_NAME
from i3tasks_core.schedule import Cron, CronError


def schedule_problems(schedules: Sequence[Schedule], queue_names: Iterable[str]) -> list[Problem]:
    """Everything wrong with these schedules; whether their tasks exist is seen when those are imported.

    Args:
        schedules: whose fields may hold anything, whatever their types promise.
        queue_names: of the queues that the settings list.
    """
    known = sorted(queue_names)
    found = [
        Problem(code="E030", field=f"I3TASKS.schedules[{index}].{field}", message=message, hint=hint)
        for index, schedule in enumerate(schedules)
        for field, message, hint in _problems(schedule, known)
    ]
    return found or list(_twins(schedules))


def _problems(given: Any, queue_names: list[str]) -> Iterator[tuple[str, str, str]]:
    """The field, what is wrong with it, what to write."""
    for name in ("module_name", "func_name"):
        if not _is_name(value := getattr(given, name)):
            yield name, f"is {value!r}", f"write a text of 1 to {MAX_NAME} characters"
    if given.name is not None and (not _is_name(given.name) or given.name.startswith("@")):
        yield (
            "name",
            f"is {given.name!r}",
            f"write a text of 1 to {MAX_NAME} characters, or None; no @ first",
        )
    yield from _clock_problems(given)
    yield from _argument_problems(given)
    for name, allowed in (("misfire", list(Misfire)), ("overlap", list(Overlap))):
        if (value := getattr(given, name)) not in allowed:
            words = ", ".join(f'"{word}"' for word in allowed)
            yield name, f"is {value!r}", f"write one of {words}"
    if given.queue_name is not None and given.queue_name not in queue_names:
        words = ", ".join(map(repr, queue_names))
        yield "queue_name", f"is {given.queue_name!r}", f"write one of {words}, or None for the task's own"


def _clock_problems(given: Any) -> Iterator[tuple[str, str, str]]:
    zone = "UTC" if given.timezone is None else given.timezone
    for name, expression, timezone in (("timezone", "@daily", zone), ("cron", given.cron, "UTC")):
        try:
            Cron(expression, timezone)
        except CronError as error:
            message, _, hint = str(error).partition(": ")
            yield name, f"is wrong: {message}", hint


def _argument_problems(given: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(given.args, list | tuple) or not isinstance(given.kwargs, Mapping):
        name = "kwargs" if isinstance(given.args, list | tuple) else "args"
        kind = type(getattr(given, name)).__name__  # its value may be a secret
        yield name, f"is a {kind}", "write args as a list and kwargs as a dict"
        return
    try:
        check_arguments(tuple(given.args), dict(given.kwargs))
    except (ArgumentError, TypeError) as error:
        yield "args", f"cannot be stored ({error})", "write JSON: texts, numbers, lists, dicts"


def _twins(schedules: Sequence[Schedule]) -> Iterator[Problem]:
    keys = [schedule.key for schedule in schedules]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield Problem(
                code="E031",
                field=f"I3TASKS.schedules[{index}]",
                message=f"is {key!r}, as another one before it is",
                hint='remove it, or give it a name="…" of its own',
            )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()
