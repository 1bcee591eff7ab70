"""Which database, how its SQL differs, and what to do when it is away for a moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import DataError, Error, InterfaceError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from i3tasks_core import events
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.watch import watch

T = TypeVar("T")
Row = TypeVar("Row", bound=Model)
Key = TypeVar("Key", int, UUID)

_MOST_AT_ONCE = 500

TRANSIENT = (OperationalError, InterfaceError)
"""Serialization failures, deadlocks, dropped connections and SQLITE_BUSY all arrive as these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The few words in which the two databases differ.

    Attributes:
        now: the statement's moment.
        later: a moment so many seconds (one parameter) after it.
        skip_locked: takes the rows nobody else is working on; SQLite has one writer at a time anyway.
        uuid: how it is passed as a parameter.
        json_array: makes a JSON array of values.
        json: a JSON column as such a value, and not as text.
        json_of: what a JSON column takes, made of text.
    """

    now: str
    later: str
    skip_locked: str
    uuid: Callable[[UUID], Any]
    json_array: str
    json: str
    json_of: str


_DIALECTS = {
    "postgresql": Dialect(
        # Not now(): that stands still inside a transaction.
        now="STATEMENT_TIMESTAMP()",
        later="STATEMENT_TIMESTAMP() + %s * INTERVAL '1 second'",
        skip_locked="FOR UPDATE SKIP LOCKED",
        uuid=lambda value: value,
        json_array="JSON_BUILD_ARRAY",
        json="TO_JSON",
        json_of="CAST({} AS jsonb)",
    ),
    "sqlite": Dialect(
        now="STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
        later="STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s || ' seconds')",
        skip_locked="",
        uuid=lambda value: value.hex,
        json_array="JSON_ARRAY",
        json="JSON",
        json_of="{}",
    ),
}


def alias() -> str:
    """The database that holds the tables, as the project's routers say."""
    return router.db_for_write(TaskExecutionTry)


def connection() -> BaseDatabaseWrapper:
    return connections[alias()]


def dialect() -> Dialect:
    return _DIALECTS[connection().vendor]


def rows(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    """Run one statement and fetch what it returns."""
    with connection().cursor() as cursor:
        cursor.execute(sql, params)
        fetched: list[tuple[Any, ...]] = cursor.fetchall()
        return fetched


def by_id(state: TryState) -> str:
    """The condition that a try is in that state, for statements that name their tries by id.

    It hides the state from the planner: beside a long history that takes the unfinished for a handful, and
    so reads a whole backlog by one of its partial indexes to find a few of it.
    """
    return f"state || '' = '{state}'"


def database_now() -> datetime:
    """The clock that decides what is due."""
    ((now,),) = rows(f"SELECT {dialect().now}", [])
    return as_datetime(now)


def as_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def as_json(value: Any) -> Any:
    """Both databases hand JSON over as text to those who ask without Django's models."""
    return json.loads(value) if isinstance(value, str | bytes) else value


def as_datetime(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # SQLite keeps UTC without saying so


def placeholders(count: int) -> str:
    return ", ".join(["%s"] * count)


def parts(pks: Iterable[Key]) -> Iterator[list[Key]]:
    """As many as go into one statement, in order."""
    ordered = sorted(pks)
    return (ordered[start : start + _MOST_AT_ONCE] for start in range(0, len(ordered), _MOST_AT_ONCE))


def resilient(statement: str, action: Callable[[], T], patience: float, *, may_last: bool = False) -> T:
    """Run a transaction of ours again, on a new connection if need be, while its failure may be passing.

    Args:
        statement: its name, for the log.
        action: the whole transaction; running it again after it took effect must do no harm.
        patience: seconds after which the failure is the caller's.
        may_last: it waits for locks as long as it takes, or has much to do; any other that gets no answer for
            ``watch.LIMIT`` seconds has failed.

    Raises:
        OperationalError, InterfaceError: the last failure.
    """
    current = connection()
    if current.in_atomic_block:
        return action()  # the transaction is somebody else's: so is the decision to try it again

    def watched() -> T:
        with watch.over(connection()):
            return action()

    is_suspect = iter([current.connection is not None])

    def is_first_of_session(error: BaseException) -> bool:
        """On a session that user code has used, another search path or a read-only mode may be the cause."""
        return isinstance(error, Error) and not isinstance(error, DataError) and next(is_suspect, False)

    def renew(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        events.DATABASE_RETRIED(statement=statement, error=repr(error))
        connection().close()  # whatever state it is in: a task may have changed its session

    return _attempt(
        action if may_last else watched,
        lambda error: isinstance(error, TRANSIENT) or is_first_of_session(error),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        before_sleep=renew,
    )


_OVERTAKEN = frozenset({"40001", "40P01"})
"""serialization_failure and deadlock_detected: https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def is_overtaken(error: BaseException) -> bool:
    """Whether another transaction came in between, which has undone this one for sure."""
    return getattr(error.__cause__, "sqlstate", None) in _OVERTAKEN


def once_more_if_overtaken(action: Callable[[], T]) -> T:
    """Run a transaction of a caller's again when another one has undone it.

    Nothing else is tried again: the call may have been recorded although the answer was lost.
    """
    if connection().in_atomic_block:
        return action()
    return _attempt(
        action,
        is_overtaken,
        stop=stop_after_delay(10),
        wait=wait_random_exponential(multiplier=0.01, max=0.5),
    )


def _attempt(action: Callable[[], T], is_passing: Callable[[BaseException], bool], **how: Any) -> T:
    """Run it, and again while its failure may be passing.

    The first time by hand: tenacity's state costs as much as the rest of a call, and is rarely needed.
    """
    try:
        return action()
    except Exception as error:
        if not is_passing(error):
            raise
        failure = error
    failures = iter([failure])

    def again() -> T:
        for first in failures:
            raise first  # as if it had been met here
        return action()

    # One that may pass once only has been judged already.
    passes = retry_if_exception(lambda error: error is failure or is_passing(error))
    return Retrying(retry=passes, reraise=True, **how)(again)


class RowsLocked(Exception):
    """Somebody else keeps a row locked for longer than one wanted to wait."""


_LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def waiting_for_locks(seconds: float | None) -> Iterator[None]:
    """A transaction that waits no longer than this for a row; None waits as long as it takes.

    SQLite has no rows to lock: its one writer at a time is waited for as ever.

    Raises:
        RowsLocked: it was longer; nothing was written.
    """
    try:
        # Its commit waits too, for the rows that new ones refer to.
        with transaction.atomic(using=alias(), durable=True):
            if seconds is not None and connection().vendor == "postgresql":
                with connection().cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {round(seconds * 1000)}")
            yield
    except OperationalError as error:
        if seconds is not None and getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise RowsLocked from error
        raise


def locked(found: QuerySet[Row]) -> QuerySet[Row]:
    """The same rows, each locked in the order of ids."""
    ordered = found.order_by("pk")
    return ordered.select_for_update() if connection().vendor == "postgresql" else ordered


def free_of_locks(found: QuerySet[Row]) -> QuerySet[Row]:
    """Those that nobody has locked, and locks them; SQLite has one writer at a time anyway.

    As an UPDATE does, which comes next: a row that somebody only refers to is free.
    """
    if connection().vendor != "postgresql":
        return found
    return found.select_for_update(skip_locked=True, no_key=True)


def discard_broken(current: BaseDatabaseWrapper) -> None:
    """Drop a connection that no longer answers; the next statement opens another."""
    if current.connection is None:
        return
    with watch.over(current):
        is_usable = current.is_usable()
    if not is_usable:
        current.close()


_thread = threading.local()
_IDLE = 1.0
_IDLE_TRANSACTION = 0  # psycopg.pq.TransactionStatus.IDLE


def drop_dead_connections() -> None:
    """Before this thread's connections are used: drop those that died since.

    A database restart would otherwise fail the first task of every thread. Busy threads are spared the
    round trip: their own last statement has just shown it.
    """
    now = time.monotonic()
    was_idle = now - getattr(_thread, "seen_at", now) > _IDLE
    _thread.seen_at = now
    for current in connections.all(initialized_only=True):
        if not current.in_atomic_block and (was_idle or current.errors_occurred):
            discard_broken(current)
            current.errors_occurred = False


def _is_in_transaction(current: BaseDatabaseWrapper) -> bool:
    """What the database driver says: a raw BEGIN passes Django by."""
    if current.connection is None:
        return False
    try:
        if not current.get_autocommit():
            return True
        if current.vendor == "postgresql":
            return bool(current.connection.info.transaction_status != _IDLE_TRANSACTION)
        return bool(getattr(current.connection, "in_transaction", False))
    except Exception:  # noqa: BLE001 - it cannot even be asked: closed behind Django's back
        return True


def discard_open_transactions() -> None:
    """Drop every connection of this thread on which user code left a transaction open.

    Django refuses to close a connection inside an atomic block for good, so the wrapper goes too and
    the next use makes a new one.
    """
    for current in connections.all(initialized_only=True):
        if current.in_atomic_block or _is_in_transaction(current):
            current.in_atomic_block = False
            current.close()
            del connections[current.alias]


def give_back_pooled_connections() -> None:
    """A pool is shared by the threads, and one that keeps its connection takes it from all others.

    Without a pool they stay with their threads.
    """
    if not any(_is_pooled(settings) for settings in connections.settings.values()):
        return  # as nearly always: to ask for the connections costs as much as to run a small task
    for current in connections.all(initialized_only=True):
        if _is_pooled(current.settings_dict) and not current.in_atomic_block:
            current.close()


def _is_pooled(settings: dict[str, Any]) -> bool:
    return bool(settings.get("OPTIONS", {}).get("pool"))
