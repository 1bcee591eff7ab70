"""A task that fails before it succeeds, and leaves its trace as those of ``fault_tasks`` do."""

from __future__ import annotations

import os
from datetime import timedelta

from i3tasks_django import RetryPolicy, TaskMetadata, task
from project.fault_tasks import LINE_LENGTH
from project.tasks import note


@task(bind=True, queue_name="heavy", max_retries=10, retry=RetryPolicy(base=timedelta(milliseconds=100)))
def stumble(path: str, label: str, failure_count: int = 1, *, task_metadata: TaskMetadata) -> str:
    """Fails in as many of its first tries as it is told, and then gives its label back."""
    run = f"{label} {task_metadata.id} {task_metadata.try_id} {task_metadata.try_number} {os.getpid()}"
    note(path, f"start {run}".ljust(LINE_LENGTH))
    note(path, f"end {run}".ljust(LINE_LENGTH))
    if task_metadata.try_number <= failure_count:
        raise RuntimeError(f"{label} fails in try {task_metadata.try_number}")
    return label
