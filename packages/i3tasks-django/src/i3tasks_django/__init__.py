"""Durable background tasks for Django over Google Cloud Pub/Sub.

``@task`` makes a function a task, ``.delay()`` records a call of it in the caller's transaction.
"""

from i3tasks_core.claim import TaskMetadata
from i3tasks_core.errors import (
    ArgumentError,
    Discard,
    GroupError,
    I3TasksError,
    ResultTimeout,
    Retry,
    TaskCancelled,
    TaskFailed,
    TaskTimeout,
    UnknownQueue,
)
from i3tasks_core.retry import RetryPolicy
from i3tasks_django.composition import Chain, Group, Signature, chain, group
from i3tasks_django.decorator import TaskDecorator, task
from i3tasks_django.handles import ChainHandle
from i3tasks_django.task import Task

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Chain",
    "ChainHandle",
    "Discard",
    "Group",
    "GroupError",
    "I3TasksError",
    "ResultTimeout",
    "Retry",
    "RetryPolicy",
    "Signature",
    "Task",
    "TaskCancelled",
    "TaskDecorator",
    "TaskFailed",
    "TaskMetadata",
    "TaskTimeout",
    "UnknownQueue",
    "chain",
    "group",
    "task",
]
