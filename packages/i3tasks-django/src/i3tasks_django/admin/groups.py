"""Groups: the list, the page of one with what failed in it, cancel."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Case, F, Func, IntegerField, JSONField, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from i3tasks_core.states import ExecutionState, GroupState
from i3tasks_core.steps import call_names, load
from i3tasks_django.admin import rendering
from i3tasks_django.admin.actions import cancel_groups
from i3tasks_django.admin.base import MOST_LISTED, ReadOnlyAdmin
from i3tasks_django.admin.filters import GroupFilter, StatusFilter
from i3tasks_django.admin.stages import StageFields, still_to_come
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup

MOST_FAILED = 20
_LONG_CHAIN = 2_000
_MOST_NAMED = 3
_MOST_OF_A_MESSAGE = 200
_COUNTERS = ("total_count", "member_count", "completed_count", "failed_count")
_TIMES = ("created", "finished", "duration")


class _StoredSize(Func):
    """Bytes on the disk: a long value is not even read for it."""

    function = "PG_COLUMN_SIZE"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, function="LENGTH", **extra)


@admin.register(TaskGroup)
class TaskGroupAdmin(StageFields, ReadOnlyAdmin):
    actions = (cancel_groups,)
    fieldsets = (
        (None, {"fields": ("id", "status_badge", _COUNTERS, _TIMES)}),
        ("Before and after", {"fields": StageFields.stage_fields}),
        ("Members", {"fields": ("members", "failed_members")}),
    )
    readonly_fields = ("id", "status_badge", *_COUNTERS, *_TIMES, *StageFields.stage_fields,
                       "members", "failed_members")  # fmt: skip
    list_display = ("short_id", "status_badge", "progress", "created", "finished", "calls_next")
    list_filter = (StatusFilter, GroupFilter)
    long_fields = ("chain",)
    search_help_text = f"A group's id. The newest {MOST_LISTED:,} that match are listed."

    def listed(self, rows: QuerySet[TaskGroup]) -> QuerySet[TaskGroup]:
        # A chain may hold the arguments of very many calls: a long one stays in the database.
        is_short = When(Q(chain_size__lte=_LONG_CHAIN), then=F("chain"))
        return rows.alias(chain_size=_StoredSize("chain")).annotate(
            short_chain=Case(is_short, output_field=JSONField(null=True))
        )

    def found_by(self, word: str) -> Q:
        try:
            return Q(pk=UUID(word))
        except ValueError:
            return Q(pk__in=[])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Its members would end and nothing would follow: cancel it instead."""
        return False

    @admin.display(description="id")
    def short_id(self, obj: TaskGroup) -> SafeString:
        return rendering.short_id(obj.pk)

    @admin.display(description="status")
    def status_badge(self, obj: TaskGroup) -> SafeString:
        if obj.cancel_requested_at is None or obj.status == GroupState.CANCELLED:
            return rendering.badge(obj.status)
        return format_html("{} cancel requested", rendering.badge(obj.status))

    @admin.display(description="completed + failed / total")
    def progress(self, obj: TaskGroup) -> str:
        return rendering.progress(obj)

    @admin.display(description="created")
    def created(self, obj: TaskGroup) -> SafeString | str:
        return rendering.moment(obj.created_at)

    @admin.display(description="finished")
    def finished(self, obj: TaskGroup) -> SafeString | str:
        return rendering.moment(obj.finished_at)

    @admin.display(description="took")
    def duration(self, obj: TaskGroup) -> str:
        return rendering.took(obj.created_at, obj.finished_at)

    @admin.display(description="calls next")
    def calls_next(self, obj: Any) -> SafeString | str:
        if obj.short_chain is None:
            return "a long chain"
        return still_to_come(obj, call_names(load(obj.short_chain)), _MOST_NAMED)

    @admin.display(description="lists")
    def members(self, obj: TaskGroup) -> SafeString | str:
        group, site = str(obj.pk), self.admin_site.name
        states = (ExecutionState.FAILED, ExecutionState.CANCELLED, ExecutionState.PENDING)
        return rendering.lines(
            [
                rendering.executions_link("all calls", site, group=group),
                *(rendering.executions_link(f"{s} calls", site, group=group, state=s) for s in states),
                rendering.groups_link("groups in this group", site, group=group),
            ]
        )

    @admin.display(description=f"the first {MOST_FAILED} that failed")
    def failed_members(self, obj: TaskGroup) -> SafeString | str:
        site = self.admin_site.name
        groups = TaskGroup.objects.filter(task_group=obj, status=GroupState.FAILED).defer("chain")
        shown = [
            *(rendering.call(one, site, rendering.error(*_error(one))) for one in _failed_calls(obj)),
            *(rendering.group(one, site) for one in groups.order_by("pk")[:MOST_FAILED]),
        ]
        return rendering.lines(shown[:MOST_FAILED])


def _failed_calls(group: TaskGroup) -> QuerySet[TaskExecution]:
    failed = TaskExecution.objects.filter(task_group=group, state=ExecutionState.FAILED)
    last = TaskExecutionTry.objects.filter(task_execution=OuterRef("pk")).order_by("-try_number")
    message = last.annotate(beginning=Left("error_message", _MOST_OF_A_MESSAGE)).values("beginning")
    return (
        failed.only("task_path", "task_name", "state")
        .annotate(last_error=Subquery(last.values("error_class")[:1]), message=Subquery(message[:1]))
        .order_by("pk")[:MOST_FAILED]
    )


def _error(execution: Any) -> tuple[str, str]:
    return execution.last_error or "", execution.message or ""
