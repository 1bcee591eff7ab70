"""One attempt to run a call."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from i3tasks_core.states import UNFINISHED, TryState
from i3tasks_django.models.execution import TaskExecution


class TaskExecutionTry(models.Model):
    """A try: who runs it until when, and how it ended.

    ``fence`` counts the claims: whoever holds an older one may no longer write. ``next_publish_at`` is the
    one column that drives doorbells: when it is past, the relay rings. Both it and the lease are set by the
    database's clock.
    """

    task_execution = models.ForeignKey(
        TaskExecution,
        on_delete=models.CASCADE,
        related_name="tries",
        db_index=False,  # the unique constraint below begins with it
    )
    try_number = models.PositiveIntegerField(default=1)
    state = models.CharField(
        max_length=16, default=TryState.PENDING.value, choices=[(s.value, s.value) for s in TryState]
    )
    asked_at = models.DateTimeField(db_default=Now())
    run_after = models.DateTimeField(null=True)
    next_publish_at = models.DateTimeField()
    publish_count = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, default="")
    error_class = models.CharField(max_length=200, default="")
    error_message = models.TextField(default="")
    traceback = models.TextField(default="")

    class Meta:
        verbose_name = "task execution try"
        verbose_name_plural = "task execution tries"
        constraints = [
            models.UniqueConstraint(fields=["task_execution", "try_number"], name="i3tasks_try_number"),
            models.UniqueConstraint(
                fields=["task_execution"],
                condition=Q(state__in=sorted(state.value for state in UNFINISHED)),
                name="i3tasks_one_unfinished_try",
            ),
        ]
        # None on lease_until: a heartbeat that changes no index stays a heap-only update.
        indexes = [
            models.Index(
                fields=["next_publish_at"],
                condition=Q(state=TryState.PENDING.value),
                name="i3tasks_to_publish",
            ),
            models.Index(fields=["id"], condition=Q(state=TryState.RUNNING.value), name="i3tasks_running"),
            models.Index(fields=["asked_at"], name="i3tasks_asked_at"),
        ]

    def __str__(self) -> str:
        return f"try {self.try_number} of {self.task_execution_id}"

    @property
    def is_completed(self) -> bool:
        return self.state not in UNFINISHED

    @property
    def is_success(self) -> bool:
        return self.state == TryState.SUCCESS
