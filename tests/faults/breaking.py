"""A database connection on which one statement or COMMIT goes wrong, before or after it took effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from i3tasks_django.store.database import connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong.

    Attributes:
        number: of the statement, from 0; a COMMIT counts as one.
        moment: ``cut before`` it reached the database, ``cut after`` it took effect there: the session is
            gone either way; or ``refused``, with the session whole: overtaken by another transaction.
    """

    number: int
    moment: str

    def __str__(self) -> str:
        return f"statement {self.number} {self.moment}"


class Breaking:
    """Counts the statements of this thread's connection and breaks one of them.

    Attributes:
        broken: the beginning of the statement that was, or None.
    """

    def __init__(self, fault: Fault) -> None:
        self.broken: str | None = None
        self._fault = fault
        self._count = 0

    @contextmanager
    def at_work(self) -> Iterator[Breaking]:
        current = connection()
        commit = current._commit  # type: ignore[attr-defined]

        def execute(do: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            return self._do(current, sql, lambda: do(sql, params, many, context))

        with current.execute_wrapper(execute), pytest.MonkeyPatch.context() as patch:
            patch.setattr(current, "_commit", lambda: self._do(current, "COMMIT", commit))
            yield self

    def _do(self, current: BaseDatabaseWrapper, what: str, action: Callable[[], Any]) -> Any:
        number, self._count = self._count, self._count + 1
        if number != self._fault.number:
            return action()
        self.broken = " ".join(what.split())[:60]
        if self._fault.moment == "refused":
            raise _refusal(current)
        if self._fault.moment == "cut after":
            action()
        _lose_session(current)
        raise OperationalError("the connection was lost")


def _lose_session(current: BaseDatabaseWrapper) -> None:
    """PostgreSQL's is cut off; SQLite has none, and undoes what it cannot write to its file."""
    if current.vendor == "postgresql":
        current.connection.close()
    else:
        current.connection.rollback()


def _refusal(current: BaseDatabaseWrapper) -> OperationalError:
    """As the database itself would say that it has undone everything so far, or never begun."""
    error = OperationalError("try again")
    if current.vendor == "postgresql":
        error.__cause__ = psycopg.errors.SerializationFailure("could not serialize access")
    return error
