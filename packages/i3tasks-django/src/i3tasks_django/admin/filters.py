"""Filters whose choices come from the code and the settings: no table is scanned to find them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.core.exceptions import ImproperlyConfigured
from django.db.models import CharField, F, Model, QuerySet, Value
from django.db.models.functions import Concat
from django.http import HttpRequest

from i3tasks_core.registry import registered
from i3tasks_core.states import ExecutionState, GroupState, TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskSchedule
from i3tasks_django.runtime import runtime


def to_execution(model: type[Model]) -> str:
    """How a lookup gets from a row of the model to its execution, or whatever else names a task."""
    return "task_execution__" if model is TaskExecutionTry else ""


class _ValueFilter(SimpleListFilter):
    """Offers what is known, and filters by whatever the address asks for."""

    def known(self, model: type[Model]) -> Iterable[str]:
        raise NotImplementedError

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:  # noqa: ARG002
        # A task or queue that is gone from the code still has rows: the one asked for is shown as chosen.
        asked = self.value()
        return [
            (value, value)
            for value in dict.fromkeys([*self.known(model_admin.model), *filter(None, [asked])])
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        value = self.value()
        if not value:
            return queryset
        # PostgreSQL refuses a NUL even to compare with it.
        return queryset.none() if "\x00" in value else self.narrowed(queryset, value)


class StateFilter(_ValueFilter):
    title = "state"
    parameter_name = "state"

    def known(self, model: type[Model]) -> Iterable[str]:
        return [state.value for state in (ExecutionState if model is TaskExecution else TryState)]

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(state=value)


class StatusFilter(_ValueFilter):
    title = "status"
    parameter_name = "status"

    def known(self, model: type[Model]) -> Iterable[str]:  # noqa: ARG002
        return [state.value for state in GroupState]

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(status=value)


class GroupFilter(_ValueFilter):
    """What belongs to one group; offered only where a link has asked for it."""

    title = "group"
    parameter_name = "group"

    def known(self, model: type[Model]) -> Iterable[str]:  # noqa: ARG002
        return ()

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        try:
            return rows.filter(task_group=UUID(value))
        except ValueError:
            return rows.none()


class SourceFilter(_ValueFilter):
    title = "source"
    parameter_name = "source"

    def known(self, model: type[Model]) -> Iterable[str]:  # noqa: ARG002
        return TaskSchedule.Source.values

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(source=value)


class EnabledFilter(_ValueFilter):
    title = "enabled"
    parameter_name = "enabled"

    def known(self, model: type[Model]) -> Iterable[str]:  # noqa: ARG002
        return ("yes", "no")

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return (
            rows.filter(is_enabled={"yes": True, "no": False}[value])
            if value in ("yes", "no")
            else rows.none()
        )


class QueueFilter(_ValueFilter):
    title = "queue"
    parameter_name = "queue"

    def known(self, model: type[Model]) -> Iterable[str]:  # noqa: ARG002
        return known_queues()

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(**{f"{to_execution(rows.model)}queue_name": value})


class TaskFilter(_ValueFilter):
    title = "task"
    parameter_name = "task"

    def known(self, model: type[Model]) -> Iterable[str]:  # noqa: ARG002
        return [task.full_name for task in registered()]

    def narrowed(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        execution = to_execution(rows.model)
        for task in registered():
            if task.full_name == value:
                return rows.filter(**{f"{execution}task_path": task.path, f"{execution}task_name": task.name})
        # Which of the dots ends the module's name is known only to the code that is gone.
        full_name = Concat(
            F(f"{execution}task_path"), Value("."), F(f"{execution}task_name"), output_field=CharField()
        )
        found: QuerySet[Any] = rows.alias(full_name=full_name).filter(full_name=value)
        return found


def known_queues() -> list[str]:
    """The settings' queues; none while the settings are wrong, which the system check explains."""
    try:
        return list(runtime().queues)
    except ImproperlyConfigured:
        return []
