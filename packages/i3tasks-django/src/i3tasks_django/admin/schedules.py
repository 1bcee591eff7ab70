"""Schedules: the list, the page of one with its next and its last runs; people add and edit their own."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery, UUIDField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from i3tasks_core.schedule import Cron
from i3tasks_django import store
from i3tasks_django.admin.base import LeanAdmin
from i3tasks_django.admin.filters import EnabledFilter, SourceFilter, TaskFilter
from i3tasks_django.admin.schedule_actions import pause, resume, run_now
from i3tasks_django.admin.schedule_fields import ScheduleFields
from i3tasks_django.admin.schedule_form import ScheduleForm
from i3tasks_django.models import TaskSchedule, TaskScheduleTick
from i3tasks_django.store.database import alias

_CLOCK = ("cron", "timezone", "misfire", "overlap")
_WRITTEN = ("key", "task_path", "task_name", "task_args", "task_kwargs", "queue_name", *_CLOCK, "is_enabled")
_RUNS = ("next_run", "next_runs", "last_runs")


class _Overtaken(Exception):
    """Django's way from a form to the page after it knows no other way to write nothing after all."""


@admin.register(TaskSchedule)
class TaskScheduleAdmin(ScheduleFields, LeanAdmin):
    actions = (pause, resume, run_now)
    form = ScheduleForm
    list_display = ("key", "called_task", "cron", "timezone", "source", "enabled", "next_run", "last_run")
    list_filter = (SourceFilter, EnabledFilter, TaskFilter)
    long_fields = ("task_args", "task_kwargs")
    ordering = ("key",)
    readonly_fields = ("name", "source", "called_task", "queue", "enabled", "positional", "keyword", *_RUNS)
    search_fields = ("key",)
    search_help_text = "Words of a schedule's or a task's name."

    def listed(self, rows: QuerySet[TaskSchedule]) -> QuerySet[TaskSchedule]:
        last = TaskScheduleTick.objects.filter(schedule=OuterRef("pk")).order_by("-tick_at")
        return rows.annotate(
            last_tick_at=Subquery(last.values("tick_at")[:1]),
            last_call=Subquery(last.values("task_execution")[:1], output_field=UUIDField()),
            last_state=Subquery(last.values("task_execution__state")[:1]),
        )

    def found_by(self, word: str) -> Q:
        return Q(key__icontains=word) | Q(task_path__icontains=word) | Q(task_name__icontains=word)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_form = obj is None or self.has_change_permission(request, obj)
        first = ("key", "is_enabled", "seen_version") if is_form else ("name", "source", "enabled")
        call = (
            ("task", "task_args", "task_kwargs", "queue_name")
            if is_form
            else ("called_task", "positional", "keyword", "queue")
        )
        return (
            (None, {"fields": first}),
            ("Call", {"fields": call}),
            ("Clock", {"fields": _CLOCK}),
            ("Runs", {"fields": _RUNS if obj else ("next_runs",)}),
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The settings and the decorators write theirs, again and again; the list's actions take all."""
        return _is_a_persons(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The others would be made anew by the next beat: pause them, or take them from the code."""
        return _is_a_persons(obj) and super().has_delete_permission(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except _Overtaken as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: TaskSchedule, form: Any, change: bool) -> None:
        try:
            with transaction.atomic(using=alias()):
                is_written = _edit(obj, form) if change else self._add(request, obj, form)
        except IntegrityError:  # a second click on the same button comes second
            raise _Overtaken(f"A schedule named {obj.key} was added meanwhile: nothing was saved.") from None
        if not is_written:
            raise _Overtaken("Somebody else has edited this schedule meanwhile: nothing was saved.")

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        if not add and form.changed_data == ["is_enabled"]:
            return "Resumed." if form.instance.is_enabled else "Paused."
        return super().construct_change_message(request, form, formsets, add)

    def delete_model(self, request: HttpRequest, obj: TaskSchedule) -> None:
        self.delete_queryset(request, TaskSchedule.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic(using=alias()):
            # A beat that fires one of them right now ends first: its ticks are to go, too.
            locked = TaskSchedule.objects.using(alias()).filter(
                pk__in=list(queryset.values_list("pk", flat=True))
            )
            list(locked.order_by("pk").select_for_update().values_list("pk"))
            super().delete_queryset(request, locked)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Its ticks go with a schedule and are not listed: one of a year has thousands."""
        rows, opts = list(objs), self.opts
        forbidden = {str(opts.verbose_name) for row in rows if not self.has_delete_permission(request, row)}
        return [str(row) for row in rows], {opts.verbose_name_plural: len(rows)}, forbidden, []

    def _add(self, request: HttpRequest, obj: TaskSchedule, form: Any) -> bool:
        obj.source = TaskSchedule.Source.ADMIN
        obj.next_run_at = Cron(obj.cron, obj.timezone).following(store.database_now())
        super().save_model(request, obj, form, change=False)
        return True


def _edit(obj: TaskSchedule, form: Any) -> bool:
    return not form.has_changed() or store.edit(obj, **{name: getattr(obj, name) for name in _WRITTEN})


def _is_a_persons(obj: TaskSchedule | None) -> bool:
    return obj is None or obj.source == TaskSchedule.Source.ADMIN
