"""What a worker holds while it runs a try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one try, valid while its fence is the row's and its lease is alive.

    Attributes:
        fence: counts the claims of the row; a finish with an older one is refused.
        asked_at: when the try was asked for (aware, UTC).
        is_overdue: it has been due for so long that an unregistered task is given up.
    """

    try_id: int
    fence: int
    execution_id: UUID
    try_number: int
    max_retries: int
    queue_name: str
    task_path: str
    task_name: str
    args: list[Any] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    asked_at: datetime
    is_overdue: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What the log says of it; never its arguments."""
        return {
            "task": f"{self.task_path}.{self.task_name}",
            "execution_id": self.execution_id,
            "try_id": self.try_id,
            "try_number": self.try_number,
            "queue": self.queue_name,
        }

    @property
    def has_retries_left(self) -> bool:
        return self.try_number <= self.max_retries


class Lineage(Protocol):
    """Where a call stands among others; see ``i3tasks_django.lineage``."""

    @property
    def parent(self) -> UUID | None: ...
    @property
    def previous(self) -> Any: ...
    @property
    def group(self) -> Any: ...
    @property
    def failures(self) -> list[Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetadata:
    """What a task with ``bind=True`` is told of its own run.

    Attributes:
        id: the execution's public id.
        try_number: 1 for the first try.
        lineage: reads what follows from the database when it is first asked for.
    """

    id: UUID
    try_id: int
    try_number: int
    max_retries: int
    queue_name: str
    task_path: str
    task_name: str
    asked_at: datetime
    is_cancelled: Callable[[], bool]
    """Asks the database whether somebody has cancelled this call; one query."""
    lineage: Lineage

    @property
    def parent(self) -> UUID | None:
        """The id of the call before this one; None for the first one and after a group."""
        return self.lineage.parent

    @property
    def previous(self) -> Any:
        """The call before this one; None for the first one and after a group.

        For the members of a group it is what came before the group.

        It has ``id``, ``task``, ``state``, ``result``, ``error_class`` and ``error_message``.
        """
        return self.lineage.previous

    @property
    def group(self) -> Any:
        """The ``TaskGroup`` that called this step; for a member the group it belongs to; None otherwise.

        Its ``results()`` and ``failures()`` say how the members ended.
        """
        return self.lineage.group

    @property
    def failures(self) -> list[Any]:
        """In an ``on_failure`` step: the calls that failed, of a task or chain one, of a group all of them.

        Each has ``id``, ``task``, ``args``, ``kwargs``, ``state``, ``error_class`` and ``error_message``.
        """
        return self.lineage.failures
