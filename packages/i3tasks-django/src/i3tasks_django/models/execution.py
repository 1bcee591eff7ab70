"""One call of a task."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from i3tasks_core.identifiers import uuid7
from i3tasks_core.states import ExecutionState
from i3tasks_django.models.stage import Stage


class TaskExecution(Stage):
    """What was asked for, and what became of it.

    ``cancel_requested_at`` is set when somebody cancels a call whose try is already running: the task may
    look at it, and neither a further try nor a next step follows.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task_path = models.CharField(max_length=200)
    task_name = models.CharField(max_length=200)
    task_args = models.JSONField(default=list)
    task_kwargs = models.JSONField(default=dict)
    queue_name = models.CharField(max_length=200)
    state = models.CharField(
        max_length=16,
        default=ExecutionState.PENDING.value,
        choices=[(s.value, s.value) for s in ExecutionState],
    )
    max_retries = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)

    class Meta(Stage.Meta):
        verbose_name = "task execution"

    def __str__(self) -> str:
        return f"{self.full_name} {self.pk}"

    @property
    def full_name(self) -> str:
        return f"{self.task_path}.{self.task_name}"
