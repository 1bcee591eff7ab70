"""Tasks for tests that drive every step themselves: they fail as often as they are told, and tell of runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import Group

from i3tasks_django import RetryPolicy, TaskMetadata, task

RETRIES = 2
LATER = RetryPolicy(base=timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a call, in this process."""

    label: str
    try_id: int


runs: list[Run] = []


@task(bind=True, max_retries=RETRIES, retry=LATER)
def step(label: str, failures: int, task_metadata: TaskMetadata) -> str:
    runs.append(Run(label, task_metadata.try_id))
    return _end(label, failures, task_metadata)


@task(bind=True, max_retries=RETRIES, retry=LATER, atomic=True)
def ledger_step(label: str, failures: int, task_metadata: TaskMetadata) -> str:
    """Writes a row of its own, which must be there once if the call succeeded, and never otherwise."""
    runs.append(Run(label, task_metadata.try_id))
    Group.objects.create(name=label)
    return _end(label, failures, task_metadata)


def _end(label: str, failures: int, task_metadata: TaskMetadata) -> str:
    if task_metadata.try_number <= failures:
        raise RuntimeError(f"{label} fails in try {task_metadata.try_number}")
    return label


@task
def tick(name: str) -> str:
    return name
