"""Calls that the clock makes."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from i3tasks_core.config import Misfire, Overlap
from i3tasks_django.models.execution import TaskExecution


class TaskSchedule(models.Model):
    """A task and when to call it.

    ``next_run_at`` is the tick that is due next: whoever moves it on has fired that tick, and nobody else
    can. ``version`` counts the edits: a tick is never fired by an expression that is no longer the row's.
    ``key`` tells which entry of the settings, or which decorator, a row belongs to; ``declared_at`` is when a
    process last said that there is one.
    """

    class Source(models.TextChoices):
        SETTINGS = "settings", "settings"
        CODE = "code", "decorator"
        ADMIN = "admin", "admin"

    key = models.CharField(max_length=700, unique=True)
    source = models.CharField(max_length=16, choices=Source.choices, default=Source.ADMIN)
    task_path = models.CharField(max_length=200)
    task_name = models.CharField(max_length=200)
    task_args = models.JSONField(default=list, blank=True)
    task_kwargs = models.JSONField(default=dict, blank=True)
    queue_name = models.CharField(max_length=200, blank=True, default="")
    cron = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64)
    misfire = models.CharField(
        max_length=16, choices=[(m.value, m.value) for m in Misfire], default=Misfire.LATEST.value
    )
    overlap = models.CharField(
        max_length=16, choices=[(o.value, o.value) for o in Overlap], default=Overlap.ALLOW.value
    )
    is_enabled = models.BooleanField(default=True)
    next_run_at = models.DateTimeField()
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    declared_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[models.Manager[TaskSchedule]] = models.Manager()

    class Meta:
        verbose_name = "task schedule"
        indexes = [
            models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="i3tasks_schedule_due")
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def full_name(self) -> str:
        return f"{self.task_path}.{self.task_name}"


class TaskScheduleTick(models.Model):
    """A tick that was fired, and the call that it made."""

    schedule = models.ForeignKey(
        TaskSchedule,
        on_delete=models.CASCADE,
        related_name="ticks",
        db_index=False,  # the unique constraint below begins with it
    )
    tick_at = models.DateTimeField()
    task_execution = models.ForeignKey(TaskExecution, null=True, on_delete=models.SET_NULL, related_name="+")
    fired_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[models.Manager[TaskScheduleTick]] = models.Manager()

    class Meta:
        verbose_name = "schedule tick"
        constraints = [
            models.UniqueConstraint(fields=["schedule", "tick_at"], name="i3tasks_tick_once"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.tick_at:%Y-%m-%d %H:%M:%S}"
