"""Tasks that misbehave: what they give back, raise, and do to their process and to the next task."""

from __future__ import annotations

import contextvars
import ctypes
import decimal
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone, translation

from i3tasks_django import RetryPolicy, task

AGAIN = RetryPolicy(base=timedelta(milliseconds=50))
"""With ``max_retries=1`` whatever is worth another try gets exactly one."""


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Faceless:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class Unlisted(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no items")


RESULTS: dict[str, Callable[[], Any]] = {
    "NUL": lambda: "a\x00b",
    "a surrogate": lambda: "\ud800",
    "NaN": lambda: float("nan"),
    "infinity": lambda: [float("-inf")],
    "100 MB": lambda: "x" * 100_000_000,
    "itself": itself,
    "a deep nest": lambda: nested(100_000),
    "an object": object,
    "a set": lambda: {1},
    "bytes": lambda: b"1",
    "a number as a key": lambda: {1: 2},
    "a faceless object": Faceless,
    "a dict that cannot be listed": lambda: Unlisted(a=1),
    "endless digits": lambda: 10**5_000,
    "a generator": lambda: iter(()),
    "a function": lambda: print,
}


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Misspoken(Exception):
    def __str__(self) -> str:
        return 1  # type: ignore[return-value]  # noqa: PLE0307


class Unshown(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Deadly(Exception):
    def __str__(self) -> str:
        raise SystemExit(4)


class HostileError(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class Own(BaseException):
    pass


def circular() -> BaseException:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


ERRORS: dict[str, Callable[[], BaseException]] = {
    "NUL": lambda: ValueError("a\x00b"),
    "a surrogate": lambda: ValueError("\ud800"),
    "100 MB": lambda: ValueError("x" * 100_000_000),
    "no text": Unspeakable,
    "no text but a number": Misspoken,
    "no repr": Unshown,
    "a text that exits": Deadly,
    "no class": HostileError,
    "in a circle": circular,
    "a group of them": lambda: BaseExceptionGroup("many", [ValueError("one"), SystemExit(2)]),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "one's own BaseException": Own,
}


@task(queue_name="heavy", max_retries=1, retry=AGAIN)
def give_back(what: str) -> Any:
    return RESULTS[what]()


@task(queue_name="heavy", max_retries=1, retry=AGAIN)
def raise_what(what: str) -> None:
    error = ERRORS[what]()
    raise error


def recurse() -> None:
    recurse()


DEEDS: dict[str, Callable[[], Any]] = {
    "exits": lambda: sys.exit(5),
    "recurses without end": recurse,
    "asks for too much memory": lambda: bytearray(1 << 46),
    "ends the process": lambda: os._exit(1),
    "reads where nothing is": lambda: ctypes.string_at(0),
    "aborts": os.abort,
    "is killed for its memory": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


@task(queue_name="heavy", max_retries=1, retry=AGAIN)
def do(what: str) -> None:
    DEEDS[what]()


# --- what a task may leave behind

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def execute(*statements: str) -> Callable[[], None]:
    def run() -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return run


def leave_a_block_open() -> None:
    transaction.atomic().__enter__()
    Group.objects.create(name="never committed")


def leave_a_broken_block() -> None:
    transaction.atomic().__enter__()
    execute("SELECT nothing FROM nowhere")()


def leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(3_600,), daemon=True).start()


def close_behind_djangos_back() -> None:
    connection.ensure_connection()
    connection.connection.close()


def change_the_zone() -> None:
    timezone.activate("Asia/Tokyo")


def set_a_variable() -> None:
    colour.set("red")


def be_imprecise() -> None:
    decimal.getcontext().prec = 2


LEFTOVERS: dict[str, Callable[[], Any]] = {
    "an open block": leave_a_block_open,
    "a broken block": leave_a_broken_block,
    "a transaction begun by hand": execute("BEGIN"),
    "autocommit off": lambda: connection.set_autocommit(False),
    "a closed connection": lambda: connection.close(),  # noqa: PLW0108 - a proxy's method is the thread's
    "a connection closed behind Django's back": close_behind_djangos_back,
    "a thread": leave_a_thread,
    "a time zone": change_the_zone,
    "a language": lambda: translation.activate("it"),
    "a context variable": set_a_variable,
    "a decimal precision": be_imprecise,
}
LEFTOVERS_OF_A_SESSION: dict[str, Callable[[], Any]] = {
    "a search path": execute("SET search_path TO nowhere"),
    "a session that only reads": execute("SET default_transaction_read_only = on"),
    "a role": execute("set session authorization default", "SET ROLE pg_monitor"),
    "a zone of the session": execute("SET TIME ZONE 'Asia/Tokyo'"),
    "a function's setting": execute("SELECT set_config('search_path', 'nowhere', false)"),
    "a lock": execute("SELECT pg_advisory_lock(42)"),
    "a temporary table": execute("CREATE TEMPORARY TABLE i3tasks_django_taskgroup (id int)"),
}
LEFTOVERS_OF_A_FILE: dict[str, Callable[[], Any]] = {
    "a file that is only read": execute("PRAGMA query_only = ON"),
    "keys that are not looked at": execute("PRAGMA foreign_keys = OFF"),
}


@task(queue_name="heavy", max_retries=0)
def leave_behind(what: str) -> int:
    (LEFTOVERS | LEFTOVERS_OF_A_SESSION | LEFTOVERS_OF_A_FILE)[what]()
    return threading.get_ident()


@task(queue_name="heavy", max_retries=0)
def leave_a_thread_that_must_be_waited_for() -> None:
    threading.Thread(target=time.sleep, args=(3_600,), daemon=False).start()


@task(queue_name="heavy", max_retries=0)
def look(name: str) -> dict[str, Any]:
    """What the next task finds; whatever it cannot do fails it."""
    Group.objects.create(name=name)
    seen: dict[str, Any] = {
        "in a block": connection.in_atomic_block,
        "autocommit": connection.get_autocommit(),
        "zone": timezone.get_current_timezone_name(),
        "language": translation.get_language(),
        "colour": colour.get(),
        "precision": decimal.getcontext().prec,
        "session": _session(),
        "committed": Group.objects.filter(name="never committed").exists(),
    }
    return seen | {"thread": threading.get_ident()}


def _session() -> list[Any]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA foreign_keys")
            return list(cursor.fetchone())
        cursor.execute(
            "SELECT current_user, current_setting('search_path'), current_setting('TimeZone'),"
            " current_setting('default_transaction_read_only'),"
            " to_regclass('pg_temp.i3tasks_django_taskgroup'),"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
        )
        return list(cursor.fetchone())
