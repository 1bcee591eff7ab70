"""END: executions are over, once; what was to come after them is handed to the flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from i3tasks_core.states import ExecutionState
from i3tasks_core.steps import Steps, dump, unheard
from i3tasks_django.models import TaskExecution
from i3tasks_django.store.database import alias, as_json, as_uuid, dialect, rows
from i3tasks_django.store.given import given, parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An execution that has just ended, or whose try has.

    Attributes:
        state: a call that somebody cancelled while it ran did not fail: it is cancelled.
        chain: the steps that were to come, as JSON.
        is_cancelled: somebody has asked that nothing follows.
    """

    id: UUID
    state: str
    chain: list[Any]
    is_cancelled: bool


def end_executions(ends: Mapping[UUID, ExecutionState]) -> list[Ended]:
    """Close those that are still open.

    A state of pending stands for a failed try that wants another one: the call stays open for it, unless
    somebody has cancelled it. Even then its row is written: so this and a cancel() of the same call wait for
    each other at every isolation level, and a cancelled call gets no further try.
    """
    sql = _SQL.format(now=dialect().now, given=given(len(ends), execution_id="uuid", ended="text"))
    # By the ids' numbers: to compare two UUIDs costs ten times as much.
    ordered = sorted(ends.items(), key=lambda end: end[0].int)
    wanted = parameter({"execution_id": pk, "ended": state} for pk, state in ordered)
    return [
        Ended(id=as_uuid(pk), state=state, chain=_steps(chain), is_cancelled=bool(is_cancelled))
        for pk, state, chain, is_cancelled in rows(sql, [wanted])
    ]


def _steps(chain: Any) -> list[Any]:
    """Most calls have none after them."""
    return [] if chain == "[]" else as_json(chain)


def silence(execution_id: UUID, chain: Steps) -> None:
    """Those who listened have heard: if a person has the call run again, they do not hear a second time."""
    left = unheard(chain)
    if len(left) < len(chain):
        TaskExecution.objects.using(alias()).filter(pk=execution_id).update(chain=dump(left))


# RETURNING gives the moment itself: SQLite 3.40 answers "cancel_requested_at IS NOT NULL" wrongly there.
_SQL = """
UPDATE i3tasks_django_taskexecution AS execution
SET finished_at = CASE WHEN ended <> 'pending' OR cancel_requested_at IS NOT NULL THEN {now} END,
    state = CASE WHEN ended IN ('failed', 'pending') AND cancel_requested_at IS NOT NULL THEN 'cancelled'
        ELSE ended END
FROM {given}
WHERE execution.id = given.execution_id AND state = 'pending'
RETURNING id, state, chain, cancel_requested_at
"""
