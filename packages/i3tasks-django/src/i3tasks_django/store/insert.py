"""INSERT: new executions, each with its first try, as many as there are in one go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from i3tasks_core.envelope import Envelope
from i3tasks_core.steps import Call
from i3tasks_django.store.database import as_uuid, connection, dialect, rows

FIRST_DISTANCE = timedelta(seconds=10)
"""Whoever writes a try that is due rings for it after the commit; so long later the relay asks whether that
was heard. The ring is counted beforehand, which spares a statement a call; who fails takes it back."""

MOST_ROWS = 1_000
_MOST_CHARACTERS = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What ended before an execution or a group; nothing for what somebody called."""

    chained_from: UUID | None = None
    joins_group: UUID | None = None
    after_failure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An execution to be written.

    Attributes:
        chain: the steps after it, as JSON.
        task_group: who waits for it.
        member_number: its number there, if it is the last of its member's steps.
    """

    id: UUID
    call: Call
    chain: Sequence[dict[str, Any]] = ()
    origin: Origin = Origin()
    task_group: UUID | None = None
    member_number: int | None = None


def insert(executions: Sequence[NewExecution]) -> list[Envelope]:
    """Write the rows.

    Returns:
        The doorbells of those that are due at once, in their order; the relay rings for the others.
    """
    try_ids = {as_uuid(execution_id): try_id for try_id, execution_id in _write(executions)}
    return [
        Envelope(try_id=try_ids[new.id], execution_id=new.id, queue_name=new.call.queue_name)
        for new in executions
        if new.call.run_after is None
    ]


def _write(executions: Sequence[NewExecution]) -> Iterable[tuple[int, Any]]:
    if connection().vendor != "postgresql":
        return _insert_sqlite(executions)
    return _insert_one(executions[0]) if len(executions) == 1 else _insert_postgresql(executions)


def _tries(source: str) -> str:
    """The statement that writes a first try for each row of a table with ``id`` and ``due``."""
    return _TRIES.format(later=dialect().later, source=source)


_TRIES = """
INSERT INTO i3tasks_django_taskexecutiontry (
    task_execution_id, try_number, state, run_after, next_publish_at, publish_count, fence, worker,
    error_class, error_message, traceback)
SELECT id, 1, 'pending', due, COALESCE(due, {later}),
    CASE WHEN due IS NULL THEN 1 ELSE 0 END, 0, '', '', '', ''
FROM {source}
RETURNING id, task_execution_id
"""


def _insert_postgresql(executions: Sequence[NewExecution]) -> Iterator[tuple[int, UUID]]:
    written = [_as_json(new) for new in executions]
    sql = _postgresql([name for name in _COLUMNS if any(name in row for row in written)])
    for batch in _batches(map(json.dumps, written)):
        yield from rows(sql, [f"[{','.join(batch)}]", FIRST_DISTANCE.total_seconds()])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """As many rows, and about as many characters, as one statement should carry."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == MOST_ROWS or size + len(text) > _MOST_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


def _as_json(new: NewExecution) -> dict[str, Any]:
    """Its columns without those that are null, as most of them mostly are; and when it is due."""
    call, origin = new.call, new.origin
    row: dict[str, Any] = {
        "id": str(new.id),
        "task_path": call.task_path,
        "task_name": call.task_name,
        "task_args": call.args,
        "task_kwargs": call.kwargs,
        "queue_name": call.queue_name,
        "max_retries": call.max_retries,
        "chain": new.chain,
        "after_failure": origin.after_failure,
    }
    if origin.chained_from:
        row["chained_from_id"] = str(origin.chained_from)
    if origin.joins_group:
        row["joins_group_id"] = str(origin.joins_group)
    if new.task_group:
        row |= {"task_group_id": str(new.task_group), "member_number": new.member_number}
    if isinstance(call.run_after, timedelta):
        row["delay"] = call.run_after.total_seconds()
    elif call.run_after is not None:
        row["moment"] = call.run_after.isoformat()
    return row


_COLUMNS = {
    "id": "uuid", "task_path": "text", "task_name": "text", "task_args": "jsonb", "task_kwargs": "jsonb",
    "queue_name": "text", "max_retries": "integer", "chain": "jsonb", "after_failure": "boolean",
    "chained_from_id": "uuid", "joins_group_id": "uuid", "task_group_id": "uuid", "member_number": "integer",
}  # fmt: skip


def _postgresql(columns: Sequence[str]) -> str:
    """The statement for many rows with these columns: to look for others in each row would take its time."""
    names = ", ".join(columns)
    typed = ", ".join(f"{name} {_COLUMNS[name]}" for name in columns)
    return _POSTGRESQL.format(names=names, typed=typed) + _tries("given")


# json, not jsonb: that cannot hold more than 256 MB of array, and is slower to make.
_POSTGRESQL = """
WITH given AS MATERIALIZED (
    SELECT *, COALESCE(moment, STATEMENT_TIMESTAMP() + delay * INTERVAL '1 second') AS due
    FROM json_to_recordset(%s::json) AS given({typed}, delay double precision, moment timestamptz)
), execution AS (
    INSERT INTO i3tasks_django_taskexecution ({names}, state) SELECT {names}, 'pending' FROM given
)
"""


def _insert_one(new: NewExecution) -> list[tuple[int, UUID]]:
    """What most calls are: a fifth faster than the statement for many."""
    call, origin = new.call, new.origin
    delay = call.run_after.total_seconds() if isinstance(call.run_after, timedelta) else None
    moment = call.run_after if isinstance(call.run_after, datetime) else None
    return rows(
        _POSTGRESQL_ONE + _tries("execution"),
        [
            new.id, call.task_path, call.task_name, json.dumps(call.args), json.dumps(call.kwargs),
            call.queue_name, call.max_retries, json.dumps(new.chain), origin.after_failure,
            origin.chained_from, origin.joins_group, new.task_group, new.member_number,
            moment, delay, FIRST_DISTANCE.total_seconds(),
        ],
    )  # fmt: skip


_POSTGRESQL_ONE = """
WITH execution AS (
    INSERT INTO i3tasks_django_taskexecution (
        id, task_path, task_name, task_args, task_kwargs, queue_name, state, max_retries, chain,
        after_failure, chained_from_id, joins_group_id, task_group_id, member_number)
    VALUES (%s, %s, %s, %s, %s, %s, 'pending', %s, %s, %s, %s, %s, %s, %s)
    RETURNING id, COALESCE(
        %s::timestamptz, STATEMENT_TIMESTAMP() + %s::double precision * INTERVAL '1 second') AS due
)
"""


def _insert_sqlite(executions: Sequence[NewExecution]) -> list[tuple[int, str]]:
    if not executions:
        return []
    with connection().cursor() as cursor:
        cursor.executemany(_SQLITE_EXECUTIONS, [_as_row(new) for new in executions])
    delayed = dialect().later.replace("%s", "JSON_EXTRACT(value, '$.delay')")
    sql = _tries(_SQLITE_TRIES.format(delayed=delayed))
    return rows(sql, [FIRST_DISTANCE.total_seconds(), json.dumps([_due(new) for new in executions])])


def _as_row(new: NewExecution) -> tuple[Any, ...]:
    call, origin = new.call, new.origin
    return (
        new.id.hex,
        call.task_path,
        call.task_name,
        json.dumps(call.args),
        json.dumps(call.kwargs),
        call.queue_name,
        call.max_retries,
        json.dumps(new.chain),
        origin.after_failure,
        origin.chained_from.hex if origin.chained_from else None,
        origin.joins_group.hex if origin.joins_group else None,
        new.task_group.hex if new.task_group else None,
        new.member_number,
    )


def _due(new: NewExecution) -> dict[str, Any]:
    run_after = new.call.run_after
    return {
        "id": new.id.hex,
        "delay": run_after.total_seconds() if isinstance(run_after, timedelta) else None,
        "moment": f"{run_after.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        if isinstance(run_after, datetime)
        else None,
    }


_SQLITE_EXECUTIONS = """
INSERT INTO i3tasks_django_taskexecution (
    id, task_path, task_name, task_args, task_kwargs, queue_name, state, max_retries, chain,
    after_failure, chained_from_id, joins_group_id, task_group_id, member_number)
VALUES (%s, %s, %s, %s, %s, %s, 'pending', %s, %s, %s, %s, %s, %s, %s)
"""

_SQLITE_TRIES = """(
    SELECT JSON_EXTRACT(value, '$.id') AS id, COALESCE(JSON_EXTRACT(value, '$.moment'), {delayed}) AS due
    FROM JSON_EACH(%s)
)"""
