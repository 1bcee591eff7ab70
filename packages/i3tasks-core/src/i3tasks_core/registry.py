"""The tasks this process knows. Names from messages and rows are looked up here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from i3tasks_core.retry import RetryPolicy

MAX_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """A function and how to run it.

    Attributes:
        path: the function's module.
        name: its name in that module.
        body: the function, made synchronous.
        bind: it takes ``task_metadata=``.
        max_retries: retries after the first try; None means the settings' default.
        timeout: it is interrupted after this long.
        atomic: body and finish are one database transaction.
        place: file and line of the function.
    """

    path: str
    name: str
    body: Callable[..., Any]
    bind: bool = False
    queue_name: str = "default"
    max_retries: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: timedelta | None = None
    atomic: bool = False
    place: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.path}.{self.name}"


_tasks: dict[tuple[str, str], TaskDefinition] = {}
_conflicts: dict[str, tuple[str, str]] = {}


def register(task: TaskDefinition) -> None:
    """Make the task known; a later definition of the same name replaces the earlier, as in a module."""
    earlier = _tasks.get((task.path, task.name))
    if earlier is not None and earlier.place != task.place:
        _conflicts[task.full_name] = (earlier.place, task.place)
    _tasks[task.path, task.name] = task


def find(path: str, name: str) -> TaskDefinition | None:
    return _tasks.get((path, name))


def conflicts() -> dict[str, tuple[str, str]]:
    """Names that two functions have, with the places of both: a call of one would run the other."""
    return dict(_conflicts)


def registered() -> list[TaskDefinition]:
    """All known tasks, by name."""
    return [_tasks[key] for key in sorted(_tasks)]
