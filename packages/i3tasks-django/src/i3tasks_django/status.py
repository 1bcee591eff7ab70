"""One call as its status page tells it: how it is and what came of it, but never why it failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.database import alias


def status_of(execution_id: UUID) -> dict[str, Any] | None:
    """The page's JSON, at two queries; None when there is no such call, or no longer.

    Messages and tracebacks of errors are not told: they may hold anything.
    """
    execution = TaskExecution.objects.using(alias()).filter(pk=execution_id).first()
    if execution is None:
        return None
    tries = list(execution.tries.select_related("result").order_by("try_number"))
    return {
        "id": str(execution.pk),
        "task": execution.full_name,
        "state": execution.state,
        "created_at": _moment(execution.created_at),
        "finished_at": _moment(execution.finished_at),
        "tries": [_told(attempt) for attempt in tries],
        "result": tries[-1].result.result if tries and hasattr(tries[-1], "result") else None,
    }


def _told(attempt: TaskExecutionTry) -> dict[str, Any]:
    return {
        "try_number": attempt.try_number,
        "state": attempt.state,
        "asked_at": _moment(attempt.asked_at),
        "run_after": _moment(attempt.run_after),
        "started_at": _moment(attempt.started_at),
        "finished_at": _moment(attempt.finished_at),
        "error_class": attempt.error_class,
    }


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
