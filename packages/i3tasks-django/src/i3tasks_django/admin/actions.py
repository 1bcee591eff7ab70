"""What a person may do: the store's verbs, one call or group after the other, each its own transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from i3tasks_core.states import ExecutionState
from i3tasks_django import calling, store
from i3tasks_django.admin.telling import record, tell, tell_refused
from i3tasks_django.models import TaskExecution, TaskGroup
from i3tasks_django.ringing import publish_on_commit
from i3tasks_django.store import Cancellation
from i3tasks_django.store.database import alias

MOST_AT_ONCE = 1_000
"""Calls or groups one request acts upon; it has to end before the web server's patience does."""

_NOT_RUN_AGAIN: dict[str, str] = {
    ExecutionState.PENDING: "not ended yet",
    ExecutionState.SUCCESS: "already succeeded",
}
# An execution and a group have the same words for their states.
_NOT_CANCELLED: dict[str, str] = {
    ExecutionState.SUCCESS: "already ended",
    ExecutionState.FAILED: "already ended",
    ExecutionState.CANCELLED: "already ended",
}
_RUNNING = "running (told so; no further try follows)"


@admin.action(permissions=["change"], description="Run again")
def run_again(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """One more try for calls that failed or were cancelled."""
    picked = _picked(queryset)
    doorbells = [doorbell for pk in picked if (doorbell := store.reopen(pk)) is not None]
    # The rows are committed by now, or will be with the request; either way one ring for all of them.
    with transaction.atomic(using=alias(), savepoint=False):
        publish_on_commit(doorbells)
    done = {doorbell.execution_id for doorbell in doorbells}
    left = set(picked) - done
    record(request, _calls(done), "Run again.")
    tell(model_admin, request, len(done), "call", "will run again")
    reasons = _reasons(left, _calls(left).values_list("state", flat=True), _NOT_RUN_AGAIN)
    tell_refused(model_admin, request, "call", "not run again", reasons)
    _tell_bound(model_admin, request, picked)


@admin.action(permissions=["change"], description="Cancel")
def cancel(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """No run any more for calls that wait and for all that follows, and a word to those that run."""
    picked = _picked(queryset)
    done = {pk: calling.cancel(executions=[pk]) for pk in _oldest_first(picked)}
    cancelled, running = _sums(done.values())
    passed_on = {pk for pk, one in done.items() if one.cancelled or one.running} - cancelled - running
    left = set(picked) - cancelled - running - passed_on
    record(request, _calls(cancelled.intersection(picked)), "Cancelled.")
    record(request, _calls(running.intersection(picked)), "Cancel requested.")
    record(request, _calls(passed_on), "Cancelled what follows.")
    reasons = _reasons(left, _calls(left).values_list("state", flat=True), _NOT_CANCELLED)
    _tell_cancelled(model_admin, request, done.values(), reasons)
    _tell_bound(model_admin, request, picked)


@admin.action(permissions=["change"], description="Cancel")
def cancel_groups(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """The same for all members of groups, and for what would follow them."""
    picked = _picked(queryset)
    unmarked = _unmarked(picked)
    done = {pk: calling.cancel(groups=[pk]) for pk in _oldest_first(picked)}
    # A group whose members were never called has no call to cancel: its mark says that it is cancelled.
    marked = unmarked - _unmarked(unmarked)
    left = set(picked) - marked - {pk for pk, one in done.items() if one.cancelled or one.running}
    record(request, _groups(set(picked) - left), "Cancelled.")
    tell(model_admin, request, len(marked), "group", "cancelled")
    _tell_cancelled(model_admin, request, done.values(), Counter())
    reasons = _reasons(left, _groups(left).values_list("status", flat=True), _NOT_CANCELLED)
    tell_refused(model_admin, request, "group", "not cancelled", reasons)
    _tell_bound(model_admin, request, picked)


def _picked(queryset: QuerySet[Any]) -> list[UUID]:
    return list(queryset.order_by("-pk").values_list("pk", flat=True)[:MOST_AT_ONCE])


def _oldest_first(picked: Collection[UUID]) -> list[UUID]:
    """An outer group before the inner one: or else its callback would hear of a failure that is a cancel."""
    return sorted(picked)


def _sums(done: Iterable[Cancellation]) -> tuple[set[UUID], set[UUID]]:
    """All that will not run, and all that could not be stopped; later ones may have met the same calls."""
    cancelled = {pk for one in done for pk in one.cancelled}
    return cancelled, {pk for one in done for pk in one.running} - cancelled


def _calls(pks: Collection[UUID]) -> QuerySet[TaskExecution]:
    return TaskExecution.objects.filter(pk__in=pks).only("task_path", "task_name")


def _groups(pks: Collection[UUID]) -> QuerySet[TaskGroup]:
    return TaskGroup.objects.filter(pk__in=pks).only("pk")


def _unmarked(pks: Collection[UUID]) -> set[UUID]:
    return set(_groups(pks).filter(cancel_requested_at=None).values_list("pk", flat=True))


def _reasons(left: Collection[UUID], states: Iterable[str], reasons: Mapping[str, str]) -> Counter[str]:
    """Why the others were left as they are, judged by the state they are in now."""
    counted = Counter(reasons.get(state, "changed meanwhile") for state in states)
    counted["deleted meanwhile"] = len(left) - counted.total()
    return +counted


def _tell_cancelled(
    model_admin: Any, request: HttpRequest, done: Collection[Cancellation], reasons: Counter[str]
) -> None:
    cancelled, running = _sums(done)
    tell(model_admin, request, len(cancelled), "call", "cancelled")
    refused = reasons + Counter({_RUNNING: len(running)})
    tell_refused(model_admin, request, "call", "not cancelled", refused)


def _tell_bound(model_admin: Any, request: HttpRequest, picked: Collection[UUID]) -> None:
    if len(picked) == MOST_AT_ONCE:
        text = f"One request takes the newest {MOST_AT_ONCE:,}; narrow the list and repeat it for the rest."
        model_admin.message_user(request, text, messages.INFO)
