"""Calls: the list, the page of one with its tries, run again and cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from i3tasks_core import registry
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_django.admin import rendering
from i3tasks_django.admin.actions import cancel, run_again
from i3tasks_django.admin.base import ReadOnlyAdmin
from i3tasks_django.admin.filters import GroupFilter, known_queues
from i3tasks_django.admin.stages import StageFields
from i3tasks_django.admin.tries import TryFields
from i3tasks_django.models import TaskExecution, TaskExecutionTry

if TYPE_CHECKING:
    _Inline = admin.StackedInline[TaskExecutionTry, TaskExecution]
else:
    _Inline = admin.StackedInline

_TIMES = ("created", "finished", "duration")


class TryInline(TryFields, _Inline):
    model = TaskExecutionTry
    can_delete = False
    extra = 0
    fields = (("state_badge", "worker_name"), "times", "ending")
    readonly_fields = ("state_badge", "worker_name", "times", "ending")
    ordering = ("-try_number",)
    show_change_link = True
    verbose_name = "try"
    verbose_name_plural = "tries, the last one first"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskExecutionTry]:
        return super().get_queryset(request).select_related("result")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


@admin.register(TaskExecution)
class TaskExecutionAdmin(StageFields, ReadOnlyAdmin):
    actions = (run_again, cancel)
    fieldsets = (
        (None, {"fields": ("id", "task", "queue", "state_badge", _TIMES, "max_retries")}),
        ("Arguments", {"fields": ("positional", "keyword")}),
        ("Before and after", {"fields": StageFields.stage_fields}),
    )
    readonly_fields = ("id", "task", "queue", "state_badge", *_TIMES, "max_retries", "positional", "keyword",
                       *StageFields.stage_fields)  # fmt: skip
    inlines = (TryInline,)
    list_display = ("full_name", "short_id", "queue_name", "state_badge", "tries", "created", "duration")
    list_filter = (*ReadOnlyAdmin.list_filter, GroupFilter)
    long_fields = ("task_args", "task_kwargs", "chain")

    def listed(self, rows: QuerySet[TaskExecution]) -> QuerySet[TaskExecution]:
        # The last try by its index, for the rows of one page; counting tries would group the whole table.
        last = TaskExecutionTry.objects.filter(task_execution=OuterRef("pk")).order_by("-try_number")
        return rows.annotate(
            last_try_number=Subquery(last.values("try_number")[:1]),
            last_try_state=Subquery(last.values("state")[:1]),
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not while a group waits for the call: it would wait for ever. Cancel it first."""
        is_waited_for = (
            obj is not None and obj.state == ExecutionState.PENDING and obj.task_group_id is not None
        )
        return not is_waited_for and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Tries go with their execution, though nobody may delete one by itself."""
        deleted, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(forbidden) - {str(TaskExecutionTry._meta.verbose_name)}, protected

    @admin.display(description="id")
    def short_id(self, obj: TaskExecution) -> SafeString:
        return rendering.short_id(obj.pk)

    @admin.display(description="task")
    def full_name(self, obj: TaskExecution) -> str:
        return obj.full_name

    @admin.display(description="task")
    def task(self, obj: TaskExecution) -> SafeString | str:
        known = registry.find(obj.task_path, obj.task_name) is not None
        return (
            obj.full_name if known else rendering.with_remark(obj.full_name, "not registered in this process")
        )

    @admin.display(description="queue")
    def queue(self, obj: TaskExecution) -> SafeString | str:
        known = obj.queue_name in known_queues()
        return (
            obj.queue_name if known else rendering.with_remark(obj.queue_name, "not in the I3TASKS setting")
        )

    @admin.display(description="state")
    def state_badge(self, obj: TaskExecution) -> SafeString:
        if obj.cancel_requested_at is None:
            return rendering.badge(obj.state)
        return format_html("{} cancel requested", rendering.badge(obj.state))

    @admin.display(description="tries")
    def tries(self, obj: Any) -> SafeString | str:
        if obj.last_try_state != TryState.RUNNING:
            return str(obj.last_try_number or 0)
        return format_html("{} {}", obj.last_try_number, rendering.badge(obj.last_try_state))

    @admin.display(description="created")
    def created(self, obj: TaskExecution) -> SafeString | str:
        return rendering.moment(obj.created_at)

    @admin.display(description="finished")
    def finished(self, obj: TaskExecution) -> SafeString | str:
        return rendering.moment(obj.finished_at)

    @admin.display(description="took")
    def duration(self, obj: TaskExecution) -> str:
        return rendering.took(obj.created_at, obj.finished_at)

    @admin.display(description="positional")
    def positional(self, obj: TaskExecution) -> SafeString:
        return rendering.arguments(obj)

    @admin.display(description="keyword")
    def keyword(self, obj: TaskExecution) -> SafeString:
        return rendering.keyword_arguments(obj)
