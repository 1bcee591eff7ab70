"""Accounts that tasks with ``atomic=True`` add to: in the end the sum says how often each one took effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from project.fault_tasks import ACCOUNTS


@contextmanager
def ledger() -> Iterator[None]:
    """The table, for the time of a test; every account begins at nothing."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS ledger")
        cursor.execute("CREATE TABLE ledger (account integer PRIMARY KEY, total integer NOT NULL)")
        cursor.executemany("INSERT INTO ledger VALUES (%s, 0)", [(number,) for number in range(ACCOUNTS)])
    try:
        yield
    finally:
        connection.close()  # whatever state the test has left it in
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE ledger")


def total() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(total) FROM ledger")
        found: int = cursor.fetchone()[0]
        return found
