"""The admin: read what was called and what became of it; run again, cancel; schedule."""

from i3tasks_django.admin.executions import TaskExecutionAdmin
from i3tasks_django.admin.groups import TaskGroupAdmin
from i3tasks_django.admin.schedules import TaskScheduleAdmin
from i3tasks_django.admin.tries import TaskExecutionTryAdmin

__all__ = ["TaskExecutionAdmin", "TaskExecutionTryAdmin", "TaskGroupAdmin", "TaskScheduleAdmin"]
