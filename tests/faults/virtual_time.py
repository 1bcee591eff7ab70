"""A clock that can be put forward although the statements ask the database's.

Instead of the clock all moments in the rows move, the other way and by the same: no statement can tell the
difference.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db.models import DateTimeField, F, Model

from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup, TaskSchedule, TaskScheduleTick

_MOMENTS: dict[type[Model], list[str]] = {
    model: [field.name for field in model._meta.get_fields() if isinstance(field, DateTimeField)]
    for model in (TaskExecution, TaskExecutionTry, TaskGroup)
}


class VirtualTime:
    """Real time, and what was added to it.

    Attributes:
        days: how many of them were added; schedules feel no smaller steps, so that their ticks stay at the
            moments that cron has for them.
    """

    def __init__(self) -> None:
        self._added = 0.0
        self.days = 0

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic() + self._added

    def pass_by(self, seconds: float) -> None:
        self._added += seconds
        for model, names in _MOMENTS.items():
            model._default_manager.update(**{name: F(name) - timedelta(seconds=seconds) for name in names})

    def pass_days(self, days: int) -> None:
        self.days += days
        self.pass_by(timedelta(days=days).total_seconds())
        gone = timedelta(days=days)
        TaskSchedule.objects.update(next_run_at=F("next_run_at") - gone)
        # Unique with its schedule, and PostgreSQL looks at that row by row: the earliest moves first.
        for pk, tick_at in TaskScheduleTick.objects.order_by("tick_at").values_list("pk", "tick_at"):
            TaskScheduleTick.objects.filter(pk=pk).update(tick_at=tick_at - gone)
