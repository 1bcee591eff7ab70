"""What a person may do with any schedule, wherever it comes from: pause, resume, run now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from i3tasks_core.schedule import CronError
from i3tasks_django import scheduling, store
from i3tasks_django.admin import rendering
from i3tasks_django.admin.actions import MOST_AT_ONCE
from i3tasks_django.admin.filters import known_queues
from i3tasks_django.admin.telling import counted, record, tell, tell_refused
from i3tasks_django.models import TaskSchedule
from i3tasks_django.store import NewExecution
from i3tasks_django.store.database import alias

MOST_LINKED = 20
"""Calls that one message leads to."""

_UNREADABLE = "with a clock that cannot be read"
_EDITED = "edited meanwhile: repeat it"


@admin.action(permissions=["change"], description="Pause")
def pause(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """No tick is fired until somebody resumes the schedule."""
    _switch(model_admin, request, queryset, to=False)


@admin.action(permissions=["change"], description="Resume")
def resume(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """The next tick is the first one after now: what was paused is not made up for."""
    _switch(model_admin, request, queryset, to=True)


@admin.action(permissions=["change"], description="Run now")
def run_now(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """The schedule's call at once, paused or not; its clock goes on as if nothing had happened."""
    made: dict[str, NewExecution] = {}
    done, reasons = [], Counter[str]()
    for row in _picked(queryset):
        if row.queue_name and row.queue_name not in known_queues():
            reasons["with a queue that is not in the I3TASKS setting"] += 1
        elif (one := _fired(row.pk)) is None:
            reasons["deleted meanwhile"] += 1
        else:
            made[row.key] = one
            done.append(row.pk)
    record(request, _rows(done), "Run now.")
    _tell_made(model_admin, request, made)
    tell_refused(model_admin, request, "schedule", "not run", reasons)


def _switch(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any], *, to: bool) -> None:
    word = "resumed" if to else "paused"
    done, reasons = [], Counter[str]()
    for row in _picked(queryset):
        if (why_not := _why_not_switched(row, to=to)) is None:
            done.append(row.pk)
        else:
            reasons[why_not] += 1
    record(request, _rows(done), f"{word.capitalize()}.")
    tell(model_admin, request, len(done), "schedule", word)
    tell_refused(model_admin, request, "schedule", f"not {word}", reasons)


def _why_not_switched(row: TaskSchedule, *, to: bool) -> str | None:
    """Nothing, if the schedule was switched."""
    if row.is_enabled == to:
        return "not paused" if to else "already paused"
    try:
        return None if store.edit(row, is_enabled=to) else _EDITED
    except CronError:
        return _UNREADABLE


def _fired(pk: int) -> NewExecution | None:
    """The call, unless the schedule has been deleted; nobody deletes or edits it while its call is made."""
    with transaction.atomic(using=alias()):
        row = TaskSchedule.objects.using(alias()).select_for_update().filter(pk=pk).first()
        return scheduling.fire_now(row) if row is not None else None


def _picked(queryset: QuerySet[Any]) -> Iterator[TaskSchedule]:
    pks = list(queryset.values_list("pk", flat=True)[:MOST_AT_ONCE])
    return iter(_rows(pks).order_by("key"))


def _rows(pks: list[int]) -> QuerySet[TaskSchedule]:
    return TaskSchedule.objects.using(alias()).filter(pk__in=pks)


def _tell_made(model_admin: Any, request: HttpRequest, made: dict[str, NewExecution]) -> None:
    if not made:
        return
    site = model_admin.admin_site.name
    shown = list(made.items())[:MOST_LINKED]
    links = format_html_join(
        ", ", "{} {}", ((key, rendering.execution_link(one.id, site)) for key, one in shown)
    )
    left = f", and {len(made) - len(shown):,} more" if len(made) > len(shown) else ""
    text = format_html("{} called: {}{}.", counted(len(made), "schedule"), links, left)
    model_admin.message_user(request, text, messages.SUCCESS)
