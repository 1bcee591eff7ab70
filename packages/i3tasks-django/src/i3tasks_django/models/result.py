"""What a task gave back."""

from __future__ import annotations

from django.db import models

from i3tasks_django.models.execution_try import TaskExecutionTry


class TaskExecutionResult(models.Model):
    """The return value of a try that succeeded; absent when that was None."""

    task_execution_try = models.OneToOneField(
        TaskExecutionTry, on_delete=models.CASCADE, related_name="result"
    )
    result = models.JSONField(null=True)

    class Meta:
        verbose_name = "task result"

    def __str__(self) -> str:
        return f"result of {self.task_execution_try}"
