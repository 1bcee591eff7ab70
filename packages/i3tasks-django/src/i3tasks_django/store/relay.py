"""RELAY: find the tries whose doorbell is due, and keep account of how often it rang."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Max, Q
from django.db.models.functions import Coalesce, Now

from i3tasks_core.envelope import Envelope
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.database import (
    alias,
    as_datetime,
    as_uuid,
    by_id,
    connection,
    dialect,
    resilient,
    rows,
)
from i3tasks_django.store.watch import watch

OVERTAKEN_BY = timedelta(seconds=15)
RECENT = timedelta(seconds=30)
POSTPONED_BY = timedelta(seconds=5)
POSTPONED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    envelope: Envelope
    due_at: datetime
    was_published: bool


def due_doorbells(limit: int, patience: float = 4.0) -> tuple[list[Envelope], int]:
    """Reserve the tries that are due for a message, and say which of them really need one.

    Each is moved on to its next distance before anything is published: a crash in between costs a delay,
    never a loss. A try that was published before stays unpublished while its message may well be waiting
    in the broker: a backlog must not be published twice over.

    Returns:
        The doorbells to ring now, and how many rows were moved on.
    """
    due = resilient("relay", lambda: _reserve(limit), patience)
    again = [item for item in due if item.was_published]
    forgotten = _forgotten(again) | _lost_before(again) if again else set()
    wanted = [item.envelope for item in due if not item.was_published or item.envelope.try_id in forgotten]
    return wanted, len(due)


def postpone(try_ids: Collection[int]) -> None:
    """Pub/Sub did not take these: the ring does not count, and the relay tries again soon."""
    ordered = sorted(try_ids)
    for start in range(0, len(ordered), POSTPONED_AT_ONCE):
        part = ordered[start : start + POSTPONED_AT_ONCE]
        waiting = TaskExecutionTry.objects.using(alias()).filter(
            pk__in=part, state=TryState.PENDING, publish_count__gt=0
        )
        with watch.over(connection()):
            waiting.update(next_publish_at=Now() + POSTPONED_BY, publish_count=F("publish_count") - 1)


def ring_again(queue_name: str) -> None:
    """Make every try of the queue that is due and waits for its message due for another one."""
    waiting = TaskExecutionTry.objects.using(alias()).filter(
        Q(run_after=None) | Q(run_after__lte=Now()),
        state=TryState.PENDING,
        publish_count__gt=0,
        task_execution__queue_name=queue_name,
    )
    waiting.update(next_publish_at=Now(), publish_count=0)


def _reserve(limit: int) -> list[_Due]:
    words = dialect()
    sql = _SQL.format(
        now=words.now,
        distant=words.later.replace("%s", _DISTANCE),
        skip_locked=words.skip_locked,
        is_pending=by_id(TryState.PENDING),
    )
    found = rows(sql, [limit])  # one statement, and so a transaction of its own
    return [
        _Due(
            envelope=Envelope(try_id=try_id, execution_id=as_uuid(execution_id), queue_name=queue_name),
            due_at=as_datetime(due_at),
            was_published=publish_count > 1,
        )
        for try_id, execution_id, due_at, publish_count, queue_name in found
    ]


# A ring is counted before it is made, by whoever writes the row (see insert) and by the relay. It is asked
# about after 10 s, 30 s and 60 s: whoever is killed in between costs no more than that. Then the distance
# doubles up to an hour. The id spreads the rows of one batch by ±10 %.
_DISTANCE = (
    "((CASE WHEN publish_count <= 2 THEN 10 * (publish_count + 1) WHEN publish_count >= 9 THEN 3600"
    " ELSE 60 * (1 << (publish_count - 3)) END)"
    " * (0.9 + (id %% 21) * 0.01))"
)

_SQL = """
WITH due AS MATERIALIZED (
    SELECT id FROM i3tasks_django_taskexecutiontry
    WHERE state = 'pending' AND next_publish_at <= {now}
    ORDER BY next_publish_at LIMIT %s {skip_locked}
)
UPDATE i3tasks_django_taskexecutiontry
SET next_publish_at = {distant}, publish_count = publish_count + 1
WHERE id IN (SELECT id FROM due) AND {is_pending}
RETURNING id, task_execution_id, COALESCE(run_after, asked_at), publish_count,
    (SELECT queue_name FROM i3tasks_django_taskexecution e WHERE e.id = task_execution_id)
"""


def _lost_before(again: list[_Due]) -> set[int]:
    """Tries of calls that a crash has cost a try already: these never wait on.

    Who dies between pulling such a message and claiming it, holds it back until its deadline; and what he
    had claimed makes the queue look busy meanwhile. Not twice in one recovery.
    """
    lost = set(
        TaskExecutionTry.objects.using(alias())
        .filter(task_execution__in={item.envelope.execution_id for item in again}, state=TryState.LOST)
        .values_list("task_execution", flat=True)
    )
    return {item.envelope.try_id for item in again if item.envelope.execution_id in lost}


def _forgotten(again: list[_Due]) -> set[int]:
    """Tries that were published before and whose message the broker no longer has, as far as one can tell.

    Either tries that were due later are being run already, or nobody has claimed anything of the queue for
    half a minute. Both are read off the running tries: a small set with an index of its own.
    """
    reached = dict(
        TaskExecutionTry.objects.using(alias())
        .filter(state=TryState.RUNNING, started_at__gt=Now() - RECENT)
        .values_list("task_execution__queue_name")
        .annotate(latest=Max(Coalesce("run_after", "asked_at")))
        .values_list("task_execution__queue_name", "latest")
    )
    return {
        item.envelope.try_id
        for item in again
        if item.envelope.queue_name not in reached
        or reached[item.envelope.queue_name] > item.due_at + OVERTAKEN_BY
    }
