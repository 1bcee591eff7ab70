"""The tasks of the fault tests: every run leaves its start and its end in a file that no crash takes back."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection

from i3tasks_django import RetryPolicy, TaskMetadata, task
from project.tasks import note

LINE_LENGTH = 127
"""With its end 128 bytes: no line crosses a page of the file, where a kill or a reader could cut it."""

ACCOUNTS = 100
"""Rows of the ledger: few enough to meet on one now and then."""


class Doomed(Exception):
    """No further try would go better."""


SOON = RetryPolicy(base=timedelta(milliseconds=100), no_retry_for=(Doomed,))


def is_doomed(label: str) -> bool:
    """Whether the run of that label fails for good: one in twenty, always the same."""
    return zlib.crc32(label.encode()) % 20 == 0


@contextmanager
def traced(path: str, label: str, metadata: TaskMetadata) -> Iterator[None]:
    """Two lines of the oracle, with 1–20 ms of work between them; always the same for a label."""
    run = f"{label} {metadata.id} {metadata.try_id} {metadata.try_number} {os.getpid()}"
    note(path, f"start {run}".ljust(LINE_LENGTH))
    time.sleep((zlib.crc32(label.encode()) % 20 + 1) / 1000)
    yield
    note(path, f"end {run}".ljust(LINE_LENGTH))


@task(bind=True, queue_name="heavy", max_retries=10, retry=SOON)
def leave_a_trace(path: str, label: str, *, may_fail: bool = False, task_metadata: TaskMetadata) -> str:
    """Work between two lines of the oracle; with ``may_fail`` the doomed ones fail for good."""
    with traced(path, label, task_metadata):
        pass
    if may_fail and is_doomed(label):
        raise Doomed(label)
    return label


@task(bind=True, queue_name="heavy", max_retries=10, retry=SOON, atomic=True)
def book(path: str, label: str, *, task_metadata: TaskMetadata) -> str:
    """The same, and one more on one of the ledger's accounts: exactly once, whatever happens."""
    with traced(path, label, task_metadata), connection.cursor() as cursor:
        account = zlib.crc32(label.encode()) % ACCOUNTS
        cursor.execute("UPDATE ledger SET total = total + 1 WHERE account = %s", [account])
    return label


@task(bind=True, queue_name="heavy", max_retries=10, retry=SOON)
def work_slowly(path: str, label: str, seconds: float, *, task_metadata: TaskMetadata) -> str:
    """Long enough to be stopped in."""
    with traced(path, label, task_metadata):
        time.sleep(seconds)
    return label


@task(bind=True, queue_name="heavy", max_retries=10, retry=SOON, atomic=True)
def work_and_call(path: str, label: str, seconds: float, *, task_metadata: TaskMetadata) -> str:
    """The same, and at its end a call of its own, in the transaction of its success."""
    with traced(path, label, task_metadata):
        time.sleep(seconds)
        leave_a_trace.delay(path, child_of(label, task_metadata.try_number))
    return label


def child_of(label: str, try_number: int) -> str:
    """What ``work_and_call`` calls in that try."""
    return f"{label}-child-of-try-{try_number}"
