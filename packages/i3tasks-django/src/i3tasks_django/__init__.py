"""Durable background tasks for Django over Google Cloud Pub/Sub.

``@task`` makes a function a task, ``.delay()`` records a call of it in the caller's transaction.
"""

from i3tasks_core.claim import TaskMetadata
from i3tasks_core.errors import (
    ArgumentError,
    Discard,
    I3TasksError,
    ResultTimeout,
    Retry,
    TaskCancelled,
    TaskFailed,
    TaskTimeout,
    UnknownQueue,
)
from i3tasks_core.retry import RetryPolicy
from i3tasks_django.handles import ChainHandle
from i3tasks_django.task import Task, TaskDecorator, task

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "ChainHandle",
    "Discard",
    "I3TasksError",
    "ResultTimeout",
    "Retry",
    "RetryPolicy",
    "Task",
    "TaskCancelled",
    "TaskDecorator",
    "TaskFailed",
    "TaskMetadata",
    "TaskTimeout",
    "UnknownQueue",
    "task",
]
