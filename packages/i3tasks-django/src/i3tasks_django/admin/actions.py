"""What a person may do with calls: the store's verbs, one call after the other, each its own transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from i3tasks_core.states import ExecutionState
from i3tasks_django import calling, store
from i3tasks_django.models import TaskExecution
from i3tasks_django.publishing import publish_on_commit
from i3tasks_django.store.database import alias

MOST_AT_ONCE = 1_000
"""Calls one request acts upon; it has to end before the web server's patience does."""

_NOT_RUN_AGAIN = {
    ExecutionState.PENDING: "not ended yet",
    ExecutionState.SUCCESS: "already succeeded",
}
_NOT_CANCELLED = {
    ExecutionState.PENDING: "running (told so; no further try follows)",
    ExecutionState.SUCCESS: "already ended",
    ExecutionState.FAILED: "already ended",
    ExecutionState.CANCELLED: "already ended",
}


@admin.action(permissions=["change"], description="Run again")
def run_again(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """One more try for calls that failed or were cancelled."""
    picked = _picked(queryset)
    doorbells = [doorbell for pk in picked if (doorbell := store.reopen(pk)) is not None]
    # The rows are committed by now, or will be with the request; either way one ring for all of them.
    with transaction.atomic(using=alias(), savepoint=False):
        publish_on_commit(doorbells)
    done = [doorbell.execution_id for doorbell in doorbells]
    _record(request, done, "Run again.")
    _tell(model_admin, request, "will run again", len(done))
    _tell_refused(model_admin, request, "not run again", _reasons(picked, done, _NOT_RUN_AGAIN))
    _tell_bound(model_admin, request, picked)


@admin.action(permissions=["change"], description="Cancel")
def cancel(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """No run any more for calls that wait, and a word to those that run."""
    picked = _picked(queryset)
    done = [pk for pk in picked if pk in calling.cancel(executions=[pk]).cancelled]
    _record(request, done, "Cancelled.")
    _tell(model_admin, request, "cancelled", len(done))
    _tell_refused(model_admin, request, "not cancelled", _reasons(picked, done, _NOT_CANCELLED))
    _tell_bound(model_admin, request, picked)


def _picked(queryset: QuerySet[Any]) -> list[UUID]:
    return list(queryset.order_by("-pk").values_list("pk", flat=True)[:MOST_AT_ONCE])


def _record(request: HttpRequest, done: Sequence[UUID], message: str) -> None:
    """Who did it: into the history that the admin keeps of every object."""
    assert request.user.pk is not None
    rows = TaskExecution.objects.filter(pk__in=done).only("task_path", "task_name")
    LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)


def _reasons(
    picked: Sequence[UUID], done: Sequence[UUID], reasons: dict[ExecutionState, str]
) -> Counter[str]:
    """Why the others were left as they are, judged by the state they are in now."""
    left = set(picked) - set(done)
    states = TaskExecution.objects.filter(pk__in=left).values_list("state", flat=True)
    counted = Counter(reasons.get(ExecutionState(state), "changed meanwhile") for state in states)
    counted["deleted meanwhile"] = len(left) - counted.total()
    return +counted


def _tell(model_admin: Any, request: HttpRequest, what: str, count: int) -> None:
    if count:
        model_admin.message_user(request, f"{_calls(count)} {what}.", messages.SUCCESS)


def _tell_refused(model_admin: Any, request: HttpRequest, what: str, reasons: Counter[str]) -> None:
    if reasons:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        model_admin.message_user(request, f"{_calls(reasons.total())} {what}: {why}.", messages.WARNING)


def _tell_bound(model_admin: Any, request: HttpRequest, picked: Sequence[UUID]) -> None:
    if len(picked) == MOST_AT_ONCE:
        text = f"One request takes the newest {MOST_AT_ONCE:,}; filter by state and repeat it for the rest."
        model_admin.message_user(request, text, messages.INFO)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"
