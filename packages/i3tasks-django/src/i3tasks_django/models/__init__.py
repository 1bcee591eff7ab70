"""The rows. They are the truth; a message only wakes somebody up."""

from i3tasks_django.models.execution import TaskExecution
from i3tasks_django.models.execution_try import TaskExecutionTry
from i3tasks_django.models.group import TaskGroup
from i3tasks_django.models.result import TaskExecutionResult
from i3tasks_django.models.schedule import TaskSchedule, TaskScheduleTick

__all__ = [
    "TaskExecution",
    "TaskExecutionResult",
    "TaskExecutionTry",
    "TaskGroup",
    "TaskSchedule",
    "TaskScheduleTick",
]
