"""How the tasks are doing, as the health page tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce, Concat, Now

from i3tasks_core.config import I3TasksSettings
from i3tasks_core.states import UNFINISHED, TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.store.database import alias

MOST_TASKS = 50
_COLUMN = {
    TryState.PENDING: "pending",
    TryState.RUNNING: "running",
    TryState.SUCCESS: "success",
    TryState.FAILED: "failed",
    TryState.LOST: "failed",
}


def report(config: I3TasksSettings) -> dict[str, Any]:
    """The health page's JSON: two queries."""
    by_task = _by_task(timedelta(minutes=config.health_window_minutes))
    stuck_running, oldest_age = _unfinished(timedelta(minutes=config.health_stuck_minutes))
    totals = {
        name: sum(task[name] for task in by_task) for name in ("pending", "running", "success", "failed")
    }
    critical = _critical_problems(config, stuck_running, oldest_age)
    warnings = _warnings(config, totals["failed"])
    return {
        "status": "critical" if critical else "warning" if warnings else "ok",
        "now": datetime.now(UTC).isoformat(),
        "window_minutes": config.health_window_minutes,
        "thresholds": {
            "stuck_minutes": config.health_stuck_minutes,
            "failed_threshold": config.health_failed_threshold,
            "pending_age_seconds_threshold": config.health_pending_age_seconds_threshold,
        },
        "totals": totals,
        "stuck_running": stuck_running,
        "oldest_pending_age_seconds": oldest_age,
        "problems": critical + warnings,
        "by_task": sorted(by_task, key=lambda task: (-task["failed"], -task["success"]))[:MOST_TASKS],
    }


def _by_task(window: timedelta) -> list[dict[str, Any]]:
    # Not a join: for the few thousand tries of a window PostgreSQL would read the whole table of executions.
    task = TaskExecution.objects.filter(pk=OuterRef("task_execution_id")).values(
        full_name=Concat("task_path", Value(" "), "task_name")
    )
    counted = (
        TaskExecutionTry.objects.using(alias())
        .filter(asked_at__gte=Now() - window, state__in=list(_COLUMN))
        .values_list(Subquery(task), "state")
        .annotate(Count("pk"))
        .order_by()
    )
    return [_row(task, counts) for task, counts in _columns(counted).items()]


def _row(full_name: str, counts: dict[str, int]) -> dict[str, Any]:
    path, _, name = full_name.partition(" ")
    return {"task_path": f"{path}.{name}", "task_name": name, **counts}


def _columns(counted: Iterable[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    tasks: dict[str, Counter[str]] = {}
    for task, state, count in counted:
        tasks.setdefault(task, Counter())[_COLUMN[TryState(state)]] += count
    names = ("success", "failed", "running", "pending")
    return {task: {name: counts[name] for name in names} for task, counts in tasks.items()}


def _unfinished(stuck_after: timedelta) -> tuple[int, int]:
    """How many tries run for too long, and for how many seconds the oldest pending one has been due."""
    due_at = Coalesce("run_after", "asked_at")
    found = (
        TaskExecutionTry.objects.using(alias())
        .filter(state__in=sorted(UNFINISHED))
        .aggregate(
            stuck=Count("pk", filter=Q(state=TryState.RUNNING, started_at__lt=Now() - stuck_after)),
            oldest=Min(due_at, filter=Q(state=TryState.PENDING)),
            now=Max(Now()),
        )
    )
    age = (found["now"] - found["oldest"]).total_seconds() if found["oldest"] else 0.0
    return found["stuck"], max(0, int(age))


def _critical_problems(config: I3TasksSettings, stuck_running: int, oldest_age: int) -> list[str]:
    problems = []
    if stuck_running:
        problems.append(
            f"{stuck_running} tries have been running for more than {config.health_stuck_minutes} minutes"
        )
    if oldest_age > config.health_pending_age_seconds_threshold:
        problems.append(
            f"the oldest pending try has been due for {oldest_age} s; "
            f"at most {config.health_pending_age_seconds_threshold} s are expected"
        )
    return problems


def _warnings(config: I3TasksSettings, failed: int) -> list[str]:
    if failed <= config.health_failed_threshold:
        return []
    window, expected = config.health_window_minutes, config.health_failed_threshold
    return [f"{failed} tries have failed in the last {window} minutes; at most {expected} are expected"]
