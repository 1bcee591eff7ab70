"""The task of the fault tests: every run leaves its start and its end in a file that no crash takes back."""

from __future__ import annotations

import os
import time
import zlib
from datetime import timedelta

from i3tasks_django import RetryPolicy, TaskMetadata, task
from project.tasks import note

LINE_LENGTH = 127
"""With its end 128 bytes: no line crosses a page of the file, where a kill or a reader could cut it."""


class Doomed(Exception):
    """No further try would go better."""


def is_doomed(label: str) -> bool:
    """Whether the run of that label fails for good: one in twenty, always the same."""
    return zlib.crc32(label.encode()) % 20 == 0


@task(
    bind=True,
    queue_name="heavy",
    max_retries=10,
    retry=RetryPolicy(base=timedelta(milliseconds=100), no_retry_for=(Doomed,)),
)
def leave_a_trace(path: str, label: str, *, may_fail: bool = False, task_metadata: TaskMetadata) -> str:
    """Work for 1–20 ms between two lines of the oracle; with ``may_fail`` the doomed ones fail for good."""
    run = f"{label} {task_metadata.id} {task_metadata.try_id} {task_metadata.try_number} {os.getpid()}"
    note(path, f"start {run}".ljust(LINE_LENGTH))
    time.sleep((zlib.crc32(label.encode()) % 20 + 1) / 1000)
    note(path, f"end {run}".ljust(LINE_LENGTH))
    if may_fail and is_doomed(label):
        raise Doomed(label)
    return label
