"""INSERT: new executions, each with its first try, as many as there are in one go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID

from i3tasks_core.envelope import Envelope
from i3tasks_core.identifiers import uuid7
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
    if not executions:
        return []
    try_ids = {as_uuid(execution_id): try_id for try_id, execution_id in _write(executions)}
    return [
        Envelope(try_id=try_ids[new.id], execution_id=new.id, queue_name=new.call.queue_name)
        for new in executions
        if _run_after(new) is None
    ]


def insert_alike(pattern: NewExecution, arguments: Sequence[tuple[str, str]]) -> list[Envelope]:
    """Write one row for each of these arguments, all else as in the pattern; a third of the client's time.

    Args:
        pattern: not written itself.
        arguments: as JSON, by their places and by name.

    Returns:
        The doorbells, in that order; none if the call is to wait.
    """
    if connection().vendor != "postgresql":
        return insert([_with_arguments(pattern, *each) for each in arguments])
    ids = [uuid7() for _ in arguments]
    written = _insert_alike(pattern, ids, arguments)
    if _run_after(pattern) is not None:
        return []
    queue_name, try_ids = pattern.call.queue_name, {execution_id: try_id for try_id, execution_id in written}
    return [Envelope(try_id=try_ids[each], execution_id=each, queue_name=queue_name) for each in ids]


def _run_after(new: NewExecution) -> datetime | timedelta | None:
    """A delay of nothing is none: its bell is not left to the relay."""
    return new.call.run_after or None


def _write(executions: Sequence[NewExecution]) -> Iterable[tuple[int, Any]]:
    if connection().vendor != "postgresql":
        return _insert_sqlite(executions)
    return _insert_one(executions[0]) if len(executions) == 1 else _insert_many(executions)


def _tries(source: str, *, has_due: bool) -> str:
    """The statement that writes a first try for each row of a table with ``id`` and perhaps ``due``."""
    later = dialect().later
    names, values = "next_publish_at, publish_count", f"{later}, 1"
    if has_due:
        names = f"run_after, {names}"
        values = f"due, COALESCE(due, {later}), CASE WHEN due IS NULL THEN 1 ELSE 0 END"
    return _TRIES.format(names=names, values=values, source=source)


_TRIES = """
INSERT INTO i3tasks_django_taskexecutiontry (
    task_execution_id, try_number, state, {names}, fence, worker, error_class, error_message, traceback)
SELECT id, 1, 'pending', {values}, 0, '', '', '', '' FROM {source}
RETURNING id, task_execution_id
"""


def _as_row(new: NewExecution) -> dict[str, Any]:
    """Its columns, but those that have their default as most of them mostly do; and when it is due."""
    call, origin = new.call, new.origin
    row: dict[str, Any] = {
        "id": str(new.id),
        "task_path": call.task_path,
        "task_name": call.task_name,
        "task_args": call.args,
        "queue_name": call.queue_name,
        "max_retries": call.max_retries,
    }
    if call.kwargs:
        row["task_kwargs"] = call.kwargs
    if new.chain:
        row["chain"] = new.chain
    if origin.after_failure:
        row["after_failure"] = True
    if origin.chained_from:
        row["chained_from_id"] = str(origin.chained_from)
    if origin.joins_group:
        row["joins_group_id"] = str(origin.joins_group)
    if new.task_group:
        row |= {"task_group_id": str(new.task_group), "member_number": new.member_number}
    run_after = _run_after(new)
    if isinstance(run_after, timedelta):
        row["delay"] = run_after.total_seconds()
    elif run_after is not None:
        row["moment"] = run_after.isoformat()
    return row


_TYPES = {
    "id": "uuid", "task_path": "text", "task_name": "text", "task_args": "jsonb", "task_kwargs": "jsonb",
    "queue_name": "text", "max_retries": "integer", "chain": "jsonb", "after_failure": "boolean",
    "chained_from_id": "uuid", "joins_group_id": "uuid", "task_group_id": "uuid", "member_number": "integer",
    "delay": "double precision", "moment": "timestamptz",
}  # fmt: skip

_DEFAULTS = {"task_kwargs": "'{}'", "chain": "'[]'", "after_failure": "false"}

_DUE = {"delay": "STATEMENT_TIMESTAMP() + {} * INTERVAL '1 second'", "moment": "{}::timestamptz"}

_OF_TASK = ("task_path", "task_name", "queue_name", "max_retries")


def _columns(values: dict[str, str]) -> dict[str, str]:
    """The parts of an INSERT that say what each column gets, and when the row is due."""
    stored = {name: value for name, value in values.items() if name not in _DUE}
    stored |= {name: default for name, default in _DEFAULTS.items() if name not in stored}
    due = [_DUE[name].format(value) for name, value in values.items() if name in _DUE]
    return {
        "names": ", ".join(stored),
        "values": ", ".join(stored.values()),
        "due": f", COALESCE({', '.join(due)}) AS due" if due else "",
    }


def _insert_one(new: NewExecution) -> list[tuple[int, UUID]]:
    """What most calls are: a fifth faster than the statement for many."""
    row = _as_row(new)
    values = [_as_param(name, value) for name, value in row.items()]
    return rows(_statement_for_one(tuple(row)), [*values, FIRST_DISTANCE.total_seconds()])


def _as_param(name: str, value: Any) -> Any:
    return json.dumps(value) if _TYPES[name] == "jsonb" else value


@lru_cache
def _statement_for_one(given: tuple[str, ...]) -> str:
    columns = _columns(dict.fromkeys(given, "%s"))
    return _ONE.format_map(columns) + _tries("execution", has_due=bool(columns["due"]))


_ONE = """
WITH execution AS (
    INSERT INTO i3tasks_django_taskexecution ({names}, state) VALUES ({values}, 'pending') RETURNING id{due}
)
"""


def _insert_many(executions: Sequence[NewExecution]) -> list[tuple[int, UUID]]:
    written = [_as_row(new) for new in executions]
    first = written[0]
    # Said once and not in each row: most batches are of one task.
    shared = {name: first[name] for name in _OF_TASK if all(row[name] == first[name] for row in written)}
    for row in written:
        for name in shared:
            del row[name]
    sql = _statement_for_many(tuple(dict.fromkeys(chain.from_iterable(written))), tuple(shared))
    return _write_batches(sql, map(json.dumps, written), shared)


_OWN = ("id", "task_args", "task_kwargs", *_DUE)


def _insert_alike(
    pattern: NewExecution, ids: Sequence[UUID], arguments: Sequence[tuple[str, str]]
) -> list[tuple[int, UUID]]:
    row = _as_row(pattern)
    shared = {name: _as_param(name, value) for name, value in row.items() if name not in _OWN}
    due = {name: row[name] for name in _DUE if name in row}
    named = ["task_kwargs"] if any(kwargs != "{}" for _, kwargs in arguments) else []
    sql = _statement_for_many(("id", "task_args", *named, *due), tuple(shared))
    rest = "".join(f', "{name}": {json.dumps(value)}' for name, value in due.items())
    texts = (
        f'{{"id": "{own}", "task_args": {args}, "task_kwargs": {kwargs}{rest}}}'
        if named
        else f'{{"id": "{own}", "task_args": {args}{rest}}}'
        for own, (args, kwargs) in zip(ids, arguments, strict=True)
    )
    return _write_batches(sql, texts, shared)


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


def _write_batches(sql: str, texts: Iterable[str], shared: dict[str, Any]) -> list[tuple[int, UUID]]:
    written: list[tuple[int, UUID]] = []
    for batch in _batches(texts):
        written += rows(sql, [f"[{','.join(batch)}]", *shared.values(), FIRST_DISTANCE.total_seconds()])
    return written


@lru_cache
def _statement_for_many(given: tuple[str, ...], shared: tuple[str, ...]) -> str:
    """For rows with these columns: to look for others in each of them would take its time."""
    own = {name: f"COALESCE({name}, {_DEFAULTS[name]})" if name in _DEFAULTS else name for name in given}
    columns = _columns(own | {name: f"%s::{_TYPES[name]}" for name in shared})
    typed = ", ".join(f"{name} {_TYPES[name]}" for name in given)
    return _MANY.format(typed=typed, **columns) + _tries("given", has_due=bool(columns["due"]))


# json, not jsonb: that cannot hold more than 256 MB of array, and is slower to make.
_MANY = """
WITH given AS MATERIALIZED (
    SELECT *{due} FROM json_to_recordset(%s::json) AS given({typed})
), execution AS (
    INSERT INTO i3tasks_django_taskexecution ({names}, state) SELECT {values}, 'pending' FROM given
)
"""


def _with_arguments(pattern: NewExecution, args: str, kwargs: str) -> NewExecution:
    call = replace(pattern.call, args=json.loads(args), kwargs=json.loads(kwargs))
    return replace(pattern, id=uuid7(), call=call)


def _insert_sqlite(executions: Sequence[NewExecution]) -> list[tuple[int, str]]:
    with connection().cursor() as cursor:
        cursor.executemany(_SQLITE_EXECUTIONS, [_as_sqlite_row(new) for new in executions])
    delayed = dialect().later.replace("%s", "JSON_EXTRACT(value, '$.delay')")
    sql = _tries(_SQLITE_TRIES.format(delayed=delayed), has_due=True)
    return rows(sql, [FIRST_DISTANCE.total_seconds(), json.dumps([_due(new) for new in executions])])


def _as_sqlite_row(new: NewExecution) -> tuple[Any, ...]:
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
    run_after = _run_after(new)
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
