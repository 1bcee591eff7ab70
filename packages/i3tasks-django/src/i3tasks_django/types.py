"""The settings' types, at their documented import path."""

from i3tasks_core.config import I3TasksSettings, PullQueue, PushQueue, Schedule

Queue = PushQueue

__all__ = ["I3TasksSettings", "PullQueue", "PushQueue", "Queue", "Schedule"]
