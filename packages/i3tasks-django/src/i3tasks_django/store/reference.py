"""What models outside i3tasks point at: a row of ours that one of theirs stands on is not ours to delete."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.db import models, router

from i3tasks_django.models import (
    TaskExecution,
    TaskExecutionResult,
    TaskExecutionTry,
    TaskGroup,
    TaskScheduleTick,
)
from i3tasks_django.store.database import alias

# What goes with a row, and the way from there to its key.
_PARTS: dict[type[models.Model], dict[type[models.Model], str]] = {
    TaskExecution: {
        TaskExecution: "pk",
        TaskExecutionTry: "task_execution",
        TaskExecutionResult: "task_execution_try__task_execution",
    },
    TaskGroup: {TaskGroup: "pk"},
    TaskScheduleTick: {TaskScheduleTick: "pk"},
}


def referenced(kind: type[models.Model], pks: Collection[Any]) -> set[Any]:
    """Those of these rows that a foreign key of another app points at, or at what would go with them.

    Without such keys this asks nothing. What Django knows nothing of, a key made by hand, it cannot see.
    """
    found: set[Any] = set()
    for part, way in _PARTS[kind].items():
        for key in _foreign_keys(part):
            path = f"{key.name}__{way}"
            pointing: models.QuerySet[Any] = models.QuerySet(key.model, using=alias()).filter(
                **{f"{path}__in": pks}
            )
            found.update(pointing.values_list(path, flat=True))
    return found


def _foreign_keys(model: type[models.Model]) -> Iterator[models.ForeignKey[Any, Any]]:
    """Other apps' keys to the model that the database watches over."""
    for relation in model._meta.get_fields(include_hidden=True):
        if not isinstance(relation, models.ManyToOneRel):
            continue  # a many-to-many relation's own table has two of these
        key = relation.field
        if (
            key.model._meta.app_label != model._meta.app_label
            and getattr(key, "db_constraint", True)
            and router.db_for_write(key.model) == alias()
        ):
            yield key
