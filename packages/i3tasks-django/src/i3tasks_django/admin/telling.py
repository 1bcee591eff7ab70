"""What becomes of an action: told to the person, and kept in the history of the rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest


def record(request: HttpRequest, rows: QuerySet[Any], message: str) -> None:
    """Who did it: into the history that the admin keeps of every object."""
    assert request.user.pk is not None
    LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)


def tell(model_admin: Any, request: HttpRequest, count: int, noun: str, what: str) -> None:
    if count:
        model_admin.message_user(request, f"{counted(count, noun)} {what}.", messages.SUCCESS)


def tell_refused(model_admin: Any, request: HttpRequest, noun: str, what: str, reasons: Counter[str]) -> None:
    if reasons:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        text = f"{counted(reasons.total(), noun)} {what}: {why}."
        model_admin.message_user(request, text, messages.WARNING)


def counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
