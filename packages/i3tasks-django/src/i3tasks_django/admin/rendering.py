"""Values as HTML. Whatever a user or a task wrote is escaped here, and nowhere else."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from i3tasks_core import registry
from i3tasks_core.masking import masked, masked_arguments
from i3tasks_core.payload import storable_text
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup, TaskSchedule

UNSET = "-"
MOST_TASKS = 50
_MOST_SHOWN = 64 * 1024
# The stock admin's own variables, so that a badge follows the theme.
_COLOURS = {
    TryState.PENDING: "background: var(--darkened-bg); color: var(--body-quiet-color)",
    TryState.RUNNING: "background: var(--primary); color: var(--primary-fg)",
    TryState.SUCCESS: "background: var(--message-success-bg); color: var(--body-fg)",
    TryState.FAILED: "background: var(--message-error-bg); color: var(--error-fg)",
    TryState.LOST: "background: var(--message-warning-bg); color: var(--body-fg)",
    TryState.CANCELLED: "background: var(--selected-bg); color: var(--body-fg)",
}
_BADGE = (
    "{}; border: 1px solid var(--border-color); border-radius: 4px; padding: 1px 6px; white-space: nowrap"
)
_BLOCK = (
    "background: var(--darkened-bg); color: var(--body-fg); border: 1px solid var(--hairline-color); "
    "border-radius: 4px; margin: 0; max-height: 30em; min-width: 20em; overflow: auto; "
    "overflow-wrap: anywhere; padding: 8px; white-space: pre-wrap"
)


def badge(state: str) -> SafeString:
    colours = _COLOURS.get(state, _COLOURS[TryState.CANCELLED])  # type: ignore[call-overload]
    return format_html('<span style="{}">{}</span>', _BADGE.format(colours), state)


def block(text: str) -> SafeString:
    """Text as it was written, line by line; the middle of a very long one left out."""
    return format_html('<pre style="{}">{}</pre>', _BLOCK, storable_text(text, _MOST_SHOWN))


def as_json(value: Any) -> SafeString:
    return block(json.dumps(value, indent=2, ensure_ascii=False))


def moment(value: datetime | None) -> SafeString | str:
    """To the second, which is what one compares; the whole of it under the pointer."""
    if value is None:
        return UNSET
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    return format_html(
        '<time datetime="{}" title="{}"><span style="{nowrap}">{}</span> {}</time>',
        local.isoformat(),
        local.isoformat(sep=" "),
        f"{local:%Y-%m-%d}",
        f"{local:%H:%M:%S}",
        nowrap="white-space: nowrap",
    )


def took(started_at: datetime | None, finished_at: datetime | None) -> str:
    if started_at is None or finished_at is None:
        return UNSET
    duration = finished_at - started_at
    if duration < timedelta(seconds=1):
        return f"{duration / timedelta(milliseconds=1):.0f}\N{NO-BREAK SPACE}ms"
    if duration < timedelta(minutes=1):
        return f"{duration.total_seconds():.1f}\N{NO-BREAK SPACE}s"
    return str(timedelta(seconds=round(duration.total_seconds())))


def times(attempt: TaskExecutionTry) -> SafeString:
    """A try's life in one line."""
    moments = {
        "asked": attempt.asked_at,
        "not before": attempt.run_after,
        "started": attempt.started_at,
        "finished": attempt.finished_at,
    }
    shown = format_html_join(" · ", "{} {}", ((what, moment(at)) for what, at in moments.items() if at))
    duration = took(attempt.started_at, attempt.finished_at)
    return shown if duration == UNSET else format_html("{} · took {}", shown, duration)


def with_remark(text: str, remark: str) -> SafeString:
    return format_html('{} <span style="color: var(--error-fg)">({})</span>', text, remark)


def lines(shown: Iterable[SafeString | str]) -> SafeString | str:
    """One below the other."""
    return format_html_join("", "<div>{}</div>", ((one,) for one in shown)) or UNSET


def table(headings: Sequence[str], rows: Iterable[Sequence[SafeString | str]]) -> SafeString | str:
    cells = [(format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows]
    if not cells:
        return UNSET
    head = format_html_join("", '<th scope="col">{}</th>', ((heading,) for heading in headings))
    body = format_html_join("", "<tr>{}</tr>", cells)
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def tasks(names: Sequence[str], most: int = MOST_TASKS) -> str:
    """The names in their order; the same one many times is counted, and so is what is left of very many."""
    runs = [(name, sum(1 for _ in same)) for name, same in groupby(names)]
    shown = [name if count == 1 else f"{name} × {count:,}" for name, count in runs[:most]]
    left = sum(count for _, count in runs[most:])
    return ", ".join([*shown, *([f"{left:,} more"] * bool(left))]) or UNSET


def short_id(pk: UUID) -> SafeString:
    """The id's end: its beginning is the clock's, and the same for all calls of a minute."""
    style = "color: inherit; white-space: nowrap"
    return format_html('<code title="{}" style="{}">…{}</code>', pk, style, str(pk)[-8:])


def execution_link(pk: UUID, site: str) -> SafeString:
    return _link(_address("taskexecution_change", site, pk), short_id(pk))


def group_link(pk: UUID, site: str) -> SafeString:
    return _link(_address("taskgroup_change", site, pk), format_html("group {}", short_id(pk)))


def executions_link(text: str, site: str, **query: str) -> SafeString:
    return _link(f"{_address('taskexecution_changelist', site)}?{urlencode(query)}", text)


def groups_link(text: str, site: str, **query: str) -> SafeString:
    return _link(f"{_address('taskgroup_changelist', site)}?{urlencode(query)}", text)


def call(execution: TaskExecution, site: str, remark: str = "") -> SafeString:
    """A call in a line: its task, the way to it, where it stands."""
    link = execution_link(execution.pk, site)
    return format_html("{} {} {} {}", execution.full_name, link, badge(execution.state), remark)


def run(pk: UUID | None, state: str, site: str) -> SafeString | str:
    """Where a scheduled call stands; its tick stays when the call is deleted."""
    return format_html("{} {}", execution_link(pk, site), badge(state)) if pk else "call deleted"


def group(one: TaskGroup, site: str, remark: str = "") -> SafeString:
    return format_html("{} {} {}", group_link(one.pk, site), badge(one.status), remark)


def progress(one: TaskGroup) -> str:
    return f"{one.completed_count:,} + {one.failed_count:,} / {one.total_count:,}"


def arguments(called: TaskExecution | TaskSchedule) -> SafeString:
    names = _positional_names(called)
    return as_json(masked_arguments(called.task_args, names))


def keyword_arguments(called: TaskExecution | TaskSchedule) -> SafeString:
    return as_json(masked(called.task_kwargs))


def error(error_class: str, message: str) -> SafeString:
    return format_html("<strong>{}</strong>: {}", error_class, message)


def ending(attempt: TaskExecutionTry) -> SafeString | str:
    """What the try gave back, or what went wrong."""
    if attempt.is_success:
        return as_json(masked(attempt.result.result) if hasattr(attempt, "result") else None)
    if not (attempt.error_class or attempt.error_message):
        return UNSET
    what = error(attempt.error_class, attempt.error_message)
    return format_html("<div><p>{}</p>{}</div>", what, block(attempt.traceback) if attempt.traceback else "")


def _address(view: str, site: str, *args: UUID) -> str:
    return reverse(f"admin:i3tasks_django_{view}", args=args, current_app=site)


def _link(address: str, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', address, text)


def _positional_names(called: TaskExecution | TaskSchedule) -> list[str]:
    """The parameters that took the positional arguments; empty when the task is not known here (any more)."""
    task = registry.find(called.task_path, called.task_name)
    if task is None:
        return []
    try:
        # An async task's body is asgiref's bridge, which keeps the function in ``awaitable``.
        signature = inspect.signature(getattr(task.body, "awaitable", task.body))
    except (TypeError, ValueError):
        return []
    given_by_us = "task_metadata" if task.bind else None
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [parameter.name] * len(called.task_args)
        elif parameter.kind is not parameter.KEYWORD_ONLY and parameter.name != given_by_us:
            names.append(parameter.name)
    return names
