"""THEN: add steps behind everything that follows an execution or a group, whenever that is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from i3tasks_core.states import ExecutionState
from i3tasks_core.steps import Join, Steps, dump, load, next_of
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
    at: tuple[Stage, UUID] | None = (stage, pk)
    while at is not None:
        stage, pk = at
        state, is_cancelled, still_to_come = _touch(stage, pk)
        if is_cancelled or state not in (ExecutionState.PENDING, ExecutionState.SUCCESS):
            return False
        if state == ExecutionState.PENDING:
            stage.objects.using(alias()).filter(pk=pk).update(chain=[*still_to_come, *dump(chain)])
            return True
        at = _following(stage, pk)
    if next_of(tuple(step for step in load(still_to_come) if not isinstance(step, Join)))[0] is not None:
        return False  # its next step is gone from the tables, however that ended
    flow.go_on(chain, Origin(joins_group=pk) if stage is TaskGroup else Origin(chained_from=pk))
    return True


def _touch(stage: Stage, pk: UUID) -> tuple[str, bool, list[Any]]:
    """An execution's state or a group's status: they have the same words for it."""
    words = dialect()
    for state, is_cancelled, chain in rows(
        _TOUCH_GROUP if stage is TaskGroup else _TOUCH_EXECUTION, [words.uuid(pk)]
    ):
        return state, bool(is_cancelled), as_json(chain)
    raise stage.DoesNotExist(f"{pk}: it was rolled back, or cleaned up")


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
