"""Tries: the list and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from i3tasks_django.admin import rendering
from i3tasks_django.admin.base import ReadOnlyAdmin
from i3tasks_django.models import TaskExecutionTry


class TryFields:
    """A try's values as they are shown; also inside its execution's page."""

    @admin.display(description="state")
    def state_badge(self, obj: TaskExecutionTry) -> SafeString:
        return rendering.badge(obj.state)

    @admin.display(description="worker")
    def worker_name(self, obj: TaskExecutionTry) -> str:
        return obj.worker or rendering.UNSET

    @admin.display(description="asked")
    def asked(self, obj: TaskExecutionTry) -> SafeString | str:
        return rendering.moment(obj.asked_at)

    @admin.display(description="started")
    def started(self, obj: TaskExecutionTry) -> SafeString | str:
        return rendering.moment(obj.started_at)

    @admin.display(description="finished")
    def finished(self, obj: TaskExecutionTry) -> SafeString | str:
        return rendering.moment(obj.finished_at)

    @admin.display(description="times")
    def times(self, obj: TaskExecutionTry) -> SafeString:
        return rendering.times(obj)

    @admin.display(description="result or error")
    def ending(self, obj: TaskExecutionTry) -> SafeString | str:
        return rendering.ending(obj)


@admin.register(TaskExecutionTry)
class TaskExecutionTryAdmin(TryFields, ReadOnlyAdmin):
    fields = ("task", "execution", "queue", "try_number", "state_badge", "worker_name", "times", "ending")
    readonly_fields = fields
    list_display = ("task", "number", "execution", "queue", "state_badge", "error", "asked", "started",
                    "finished", "worker_name")  # fmt: skip
    list_select_related = ("task_execution",)
    long_fields = (
        "error_message",
        "traceback",
        *(f"task_execution__{field}" for field in ("task_args", "task_kwargs", "chain")),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """A pending execution without its try would wait for ever: delete executions."""
        return False

    @admin.display(description="task")
    def task(self, obj: TaskExecutionTry) -> str:
        return obj.task_execution.full_name

    @admin.display(description="try")
    def number(self, obj: TaskExecutionTry) -> int:
        return obj.try_number

    @admin.display(description="execution")
    def execution(self, obj: TaskExecutionTry) -> SafeString:
        return rendering.execution_link(obj.task_execution_id, self.admin_site.name)

    @admin.display(description="queue")
    def queue(self, obj: TaskExecutionTry) -> str:
        return obj.task_execution.queue_name

    @admin.display(description="error")
    def error(self, obj: TaskExecutionTry) -> str:
        return obj.error_class or rendering.UNSET
