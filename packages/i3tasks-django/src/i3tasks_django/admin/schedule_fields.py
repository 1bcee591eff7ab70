"""A schedule's values as they are shown: what it calls, its next and its last runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from i3tasks_core.schedule import Cron, zone
from i3tasks_django import store
from i3tasks_django.admin import rendering
from i3tasks_django.admin.filters import known_queues
from i3tasks_django.models import TaskSchedule, TaskScheduleTick
from i3tasks_django.task import find_task

MOST_NEXT = 10
MOST_LAST = 20


class ScheduleFields:
    admin_site: admin.AdminSite

    @admin.display(description="name")
    def name(self, obj: TaskSchedule) -> str:
        return obj.key

    @admin.display(description="task")
    def called_task(self, obj: TaskSchedule) -> SafeString | str:
        known = find_task(obj.task_path, obj.task_name) is not None
        return (
            obj.full_name if known else rendering.with_remark(obj.full_name, "not registered in this process")
        )

    @admin.display(description="queue")
    def queue(self, obj: TaskSchedule) -> SafeString | str:
        known = not obj.queue_name or obj.queue_name in known_queues()
        name = obj.queue_name or "the task's own"
        return name if known else rendering.with_remark(name, "not in the I3TASKS setting")

    @admin.display(description="enabled", boolean=True)
    def enabled(self, obj: TaskSchedule) -> bool:
        return obj.is_enabled

    @admin.display(description="positional arguments")
    def positional(self, obj: TaskSchedule) -> SafeString:
        return rendering.arguments(obj)

    @admin.display(description="keyword arguments")
    def keyword(self, obj: TaskSchedule) -> SafeString:
        return rendering.keyword_arguments(obj)

    @admin.display(description="next run")
    def next_run(self, obj: TaskSchedule) -> SafeString | str:
        return rendering.moment(obj.next_run_at) if obj.is_enabled else "paused"

    @admin.display(description="last run")
    def last_run(self, obj: Any) -> SafeString | str:
        if obj.last_tick_at is None:
            return rendering.UNSET
        run = rendering.run(obj.last_call, obj.last_state, self.admin_site.name)
        return rendering.lines([rendering.moment(obj.last_tick_at), run])

    @admin.display(description=f"next {MOST_NEXT} ticks")
    def next_runs(self, obj: TaskSchedule) -> SafeString | str:
        """By what the form says, saved or not."""
        if not (obj.cron and obj.timezone):
            return "shown here when the form is sent"
        try:
            ticks = list(islice(_ticks(obj, store.database_now()), MOST_NEXT))
        except (ValueError, OverflowError) as error:  # also a CronError: a row may be older than its checks
            return rendering.with_remark(rendering.UNSET, str(error))
        here = zone(obj.timezone)
        return rendering.table(
            (obj.timezone, "UTC"), ((_wall(tick.astimezone(here)), _wall(tick)) for tick in ticks)
        )

    @admin.display(description=f"last {MOST_LAST} runs")
    def last_runs(self, obj: TaskSchedule) -> SafeString | str:
        site, found = self.admin_site.name, _last_ticks(obj)
        return rendering.table(
            ("tick", "fired", "call"),
            (
                (rendering.moment(tick_at), rendering.moment(fired_at), rendering.run(call, state, site))
                for tick_at, fired_at, call, state in found
            ),
        )


def _ticks(row: TaskSchedule, after: datetime) -> Iterator[datetime]:
    cron = Cron(row.cron, row.timezone)
    while True:
        after = cron.following(after)
        yield after


def _wall(tick: datetime) -> str:
    return f"{tick:%a %Y-%m-%d %H:%M:%S %Z}"


def _last_ticks(row: TaskSchedule) -> Any:
    ticks = TaskScheduleTick.objects.filter(schedule=row.pk).order_by("-tick_at")
    return ticks.values_list("tick_at", "fired_at", "task_execution", "task_execution__state")[:MOST_LAST]
