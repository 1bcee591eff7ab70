"""END: an execution is over, once; what was to come after it is handed to the flow."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from i3tasks_core.states import ExecutionState
from i3tasks_core.steps import Steps, dump, unheard
from i3tasks_django.models import TaskExecution
from i3tasks_django.store.database import alias, as_json, as_uuid, dialect, placeholders, rows

MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An execution that has just ended.

    Attributes:
        state: a call that somebody cancelled while it ran did not fail: it is cancelled.
        chain: the steps that were to come, as JSON.
        is_cancelled: somebody has asked that nothing follows.
    """

    id: UUID
    state: str
    chain: list[Any]
    is_cancelled: bool


def end_executions(execution_ids: Collection[UUID], state: ExecutionState) -> list[Ended]:
    """Close those that are still open."""
    words = dialect()
    sql = _SQL.format(now=words.now, ids=placeholders(len(execution_ids)))
    found = rows(sql, [state, state, *map(words.uuid, execution_ids)])
    return [
        Ended(id=as_uuid(pk), state=ended, chain=as_json(chain), is_cancelled=bool(is_cancelled))
        for pk, ended, chain, is_cancelled in found
    ]


def silence(execution_id: UUID, chain: Steps) -> None:
    """Those who listened have heard: if a person has the call run again, they do not hear a second time."""
    left = unheard(chain)
    if len(left) < len(chain):
        TaskExecution.objects.using(alias()).filter(pk=execution_id).update(chain=dump(left))


# RETURNING gives the moment itself: SQLite 3.40 answers "cancel_requested_at IS NOT NULL" wrongly there.
_SQL = """
UPDATE i3tasks_django_taskexecution SET finished_at = {now}, state = CASE
    WHEN cancel_requested_at IS NOT NULL AND %s = 'failed' THEN 'cancelled' ELSE %s END
WHERE id IN ({ids}) AND state = 'pending'
RETURNING id, state, chain, cancel_requested_at
"""
