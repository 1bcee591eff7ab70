"""THEN: add steps behind everything that follows an execution or a group, whenever that is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from i3tasks_core.states import ExecutionState
from i3tasks_core.steps import Steps, dump, load, next_of
from i3tasks_django.models import TaskExecution, TaskGroup
from i3tasks_django.store.database import alias, as_json, as_uuid, dialect, rows
from i3tasks_django.store.flow import Flow
from i3tasks_django.store.insert import Origin

Stage = type[TaskExecution] | type[TaskGroup]


def then(stage: Stage, pk: UUID, chain: Steps, flow: Flow) -> bool:
    """Add the steps at the end of the chain that this execution or group is a part of.

    Every stage on the way is written, so that this and its end wait for each other at every isolation level:
    either its end finds the steps, or we find it ended.

    Args:
        stage: which of the two.
        pk: its id.
        chain: the steps.
        flow: takes the first step if its turn has come; the caller writes it in the same transaction.

    Returns:
        False when the steps will not run, because something before them failed or was cancelled.

    Raises:
        TaskExecution.DoesNotExist, TaskGroup.DoesNotExist: no such row.
    """
    row = _touch(stage, pk)
    if row is None:
        raise stage.DoesNotExist(f"{pk}: it was rolled back, or cleaned up")
    state, is_cancelled, still_to_come = row  # an execution and a group have the same words for their states
    if is_cancelled or state not in (ExecutionState.PENDING, ExecutionState.SUCCESS):
        return False
    if state == ExecutionState.PENDING:
        stage.objects.using(alias()).filter(pk=pk).update(chain=[*still_to_come, *dump(chain)])
        return True
    if (following := _following(stage, pk)) is not None:
        return then(*following, chain, flow)
    if next_of(load([step for step in still_to_come if "join" not in step]))[0] is not None:
        return False  # its next step is gone from the tables, however that ended
    is_group = stage is TaskGroup
    flow.go_on(chain, Origin(joins_group=pk) if is_group else Origin(chained_from=pk))
    return True


def _touch(stage: Stage, pk: UUID) -> tuple[str, bool, list[Any]] | None:
    words = dialect()
    found = rows(_TOUCH_GROUP if stage is TaskGroup else _TOUCH_EXECUTION, [words.uuid(pk)])
    return next(((state, bool(is_cancelled), as_json(chain)) for state, is_cancelled, chain in found), None)


def _following(stage: Stage, pk: UUID) -> tuple[Stage, UUID] | None:
    """What was made when this one succeeded."""
    link = "joins_group" if stage is TaskGroup else "chained_from"
    for successor in (TaskExecution, TaskGroup):
        found = successor.objects.using(alias()).filter(**{link: pk}, after_failure=False)
        for next_pk in found.values_list("pk", flat=True):
            return successor, as_uuid(next_pk)
    return None


_TOUCH_EXECUTION = """
UPDATE i3tasks_django_taskexecution SET state = state WHERE id = %s
RETURNING state, cancel_requested_at, chain
"""
_TOUCH_GROUP = """
UPDATE i3tasks_django_taskgroup SET status = status WHERE id = %s
RETURNING status, cancel_requested_at, chain
"""
