"""What a task changes of its database session goes with it: the next task of the thread gets a new one.

Django's web requests get that from ``CONN_MAX_AGE = 0``, a connection each; the threads that run tasks keep
theirs, so it has to be seen when it is necessary. A statement that passes Django by, and a function of the
database that changes settings for the session, are not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_CHANGES = re.compile(
    r"\s*(?:SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)|(?:RESET|DISCARD|LISTEN|PREPARE|PRAGMA|ATTACH)\b"
    r"|CREATE\s+(?:(?:GLOBAL|LOCAL)\s+)?TEMP)",
    re.IGNORECASE,
)
_CALLS = ("set_config", "advisory_lock")


def watch_new_sessions() -> None:
    """Look at the statements of every connection that this process opens from now on."""
    connection_created.connect(_watch, dispatch_uid="i3tasks-sessions")


def watch_sessions() -> None:
    """And at those of this thread's connections that somebody else has opened."""
    for current in connections.all(initialized_only=True):
        _watch(current)


def discard_changed_sessions() -> None:
    """Close every connection of this thread whose session is no longer as Django has set it up."""
    for current in connections.all(initialized_only=True):
        if current in _changed and not current.in_atomic_block:
            _changed.discard(current)
            if current.vendor == "postgresql" and current.connection is not None:
                current.connection.close()  # or it would go back into a pool as it is
            current.close()


_changed: WeakSet[BaseDatabaseWrapper] = WeakSet()


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _look not in connection.execute_wrappers:
        # First: who leaves a block of connection.execute_wrapper() takes the last one away.
        connection.execute_wrappers.insert(0, _look)


def _look(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    if not isinstance(sql, str) or _CHANGES.match(sql) or any(call in sql for call in _CALLS):
        _changed.add(context["connection"])
    return execute(sql, params, many, context)
