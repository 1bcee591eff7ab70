"""The settings' types, at their documented import path."""

from i3tasks_core.config import OIDC, I3TasksSettings, PullQueue, PushQueue, Schedule

Queue = PushQueue

__all__ = ["OIDC", "I3TasksSettings", "PullQueue", "PushQueue", "Queue", "Schedule"]
