"""Values that the tests of i3tasks-core begin with; each test changes what it is about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from i3tasks_core.claim import Claim, TaskMetadata
from i3tasks_core.registry import TaskDefinition

EXECUTION_ID = UUID("01900000-0000-7000-8000-000000000001")
ASKED_AT = datetime(2025, 1, 1, tzinfo=UTC)


def make_claim(**fields: Any) -> Claim:
    usual: dict[str, Any] = {
        "try_id": 1,
        "fence": 1,
        "execution_id": EXECUTION_ID,
        "try_number": 1,
        "max_retries": 3,
        "queue_name": "default",
        "task_path": "shop.tasks",
        "task_name": "send",
        "args": [],
        "kwargs": {},
        "asked_at": ASKED_AT,
    }
    return Claim(**{**usual, **fields})


def make_task(body: Callable[..., Any], **fields: Any) -> TaskDefinition:
    return TaskDefinition(**{"path": "shop.tasks", "name": "send", "body": body, **fields})


class Alone:
    """The lineage of a call without relations."""

    parent = previous = group = None


def metadata_of(claim: Claim) -> TaskMetadata:
    return TaskMetadata(
        id=claim.execution_id,
        try_id=claim.try_id,
        try_number=claim.try_number,
        max_retries=claim.max_retries,
        queue_name=claim.queue_name,
        task_path=claim.task_path,
        task_name=claim.task_name,
        asked_at=claim.asked_at,
        is_cancelled=lambda: False,
        lineage=Alone(),
    )
