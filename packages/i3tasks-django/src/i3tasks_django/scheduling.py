"""The clock as a caller: what the settings, the decorators and people have scheduled becomes calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction

from i3tasks_core import events
from i3tasks_core.config import Misfire, Overlap
from i3tasks_core.schedule import Cron, due
from i3tasks_core.steps import Call, Steps
from i3tasks_django import store
from i3tasks_django.composition import steps_of
from i3tasks_django.models import TaskSchedule
from i3tasks_django.ringing import publish_on_commit
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.store import Declared, DueSchedule, Entry, Flow, NewExecution
from i3tasks_django.store.database import alias, resilient
from i3tasks_django.task import find_task, known_tasks

BATCH = 100
"""Schedules that one transaction fires."""

DECLARE_EVERY = 60.0
"""Seconds between two looks at whose the rows are."""

BUDGET = 5.0
"""Seconds after which a pass begins no further batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a due schedule comes to."""

    row: TaskSchedule
    steps: Steps
    ticks: list[datetime]
    following: datetime


def fire_due() -> int:
    """Fire every tick that is due, and give back how many; any number of processes may do so at once."""
    passed_by = set(_declared())
    fired_count = 0
    deadline = time.monotonic() + BUDGET
    while time.monotonic() < deadline and resilient(
        "tick", partial(store.is_any_due, passed_by), patience=4.0
    ):
        done = resilient("tick", partial(_fire_batch, passed_by), patience=4.0)
        fired_count += done.fired_count
        if done.due_count < BATCH:
            break
        # Rows that cannot be read stay due; they must not stand in the way of all others.
        passed_by = passed_by | done.broken
    return fired_count


def fire_now(row: TaskSchedule) -> NewExecution:
    """Make the call of a schedule at once, whatever its clock says."""
    with transaction.atomic(using=alias()):
        flow = Flow()
        made = _call(_steps(row), flow)
        publish_on_commit(flow.write())
        store.record_ticks([(row.pk, store.free_moment(row), made.id)])
    return made


def entries() -> Iterator[Entry]:
    """What the settings and the decorators schedule."""
    for schedule in runtime().config.schedules:
        yield Entry(
            key=schedule.key,
            source=TaskSchedule.Source.SETTINGS.value,
            task_path=schedule.module_name,
            task_name=schedule.func_name,
            task_args=list(schedule.args),
            task_kwargs=dict(schedule.kwargs),
            queue_name=schedule.queue_name or "",
            cron=schedule.cron,
            timezone=schedule.timezone or settings.TIME_ZONE or "UTC",
            misfire=str(schedule.misfire),
            overlap=str(schedule.overlap),
        )
    for task in known_tasks():
        if task.cron is not None:
            yield Entry(
                key=f"@{task.definition.full_name}",
                source=TaskSchedule.Source.CODE.value,
                task_path=task.definition.path,
                task_name=task.definition.name,
                task_args=[],
                task_kwargs={},
                queue_name="",
                cron=task.cron,
                timezone=task.timezone or settings.TIME_ZONE or "UTC",
                misfire=Misfire.LATEST.value,
                overlap=Overlap.ALLOW.value,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declaration:
    """What this process has declared, and when."""

    of: Runtime
    at: float
    found: Declared


_lock = threading.Lock()
_last: _Declaration | None = None


def _declared() -> list[int]:
    """Declare the entries, if it is time to; ids of the rows that other releases are to fire.

    Once a minute, for rows change while this process runs: a person deletes the schedule that had an entry's
    name, another release makes rows of its own, and ours must not be taken for forgotten.
    """
    global _last  # noqa: PLW0603 - belongs to the process's one runtime
    with _lock:
        before, now = _last, time.monotonic()
        is_first = before is None or before.of is not runtime()
        if before is None or is_first or now - before.at >= DECLARE_EVERY:
            found = store.declare(entries(), editing=is_first)
            told = [] if before is None or is_first else before.found.taken
            for key in set(found.taken).difference(told):
                events.SCHEDULE_BROKEN(schedule=key, error="a person's schedule in the admin has this name")
            before = _last = _Declaration(of=runtime(), at=now, found=found)
        return before.found.others


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """One batch: how many schedules were due, how many ticks fired, which rows are unreadable."""

    due_count: int = 0
    fired_count: int = 0
    broken: frozenset[int] = frozenset()


def _fire_batch(passed_by: Collection[int]) -> _Batch:
    with transaction.atomic(using=alias()):
        found = store.due_schedules(BATCH, without=passed_by)
        if not found:
            return _Batch()
        plans = [plan for item in found if (plan := _plan(item)) is not None]
        flow = Flow()
        fired = [(plan.row.pk, tick_at, made.id) for plan, tick_at, made in _fire(plans, flow)]
        publish_on_commit(flow.write())
        store.record_ticks(fired)
    broken = {item.row.pk for item in found} - {plan.row.pk for plan in plans}
    return _Batch(due_count=len(found), fired_count=len(fired), broken=frozenset(broken))


def _plan(item: DueSchedule) -> _Plan | None:
    row = item.row
    try:
        cron = Cron(row.cron, row.timezone)
        ticks, following = due(cron, row.next_run_at, item.now, Misfire(row.misfire))
        steps = _steps(row)
    except Exception as error:  # noqa: BLE001 - one schedule that cannot be read must not keep the others
        _report_broken(row, str(error))
        return None
    if row.overlap == Overlap.SKIP:
        ticks = [] if store.is_running(row) else ticks[-1:]
    return _Plan(row=row, steps=steps, ticks=ticks, following=following)


def _fire(plans: list[_Plan], flow: Flow) -> Iterator[tuple[_Plan, datetime, NewExecution]]:
    planned = [(plan.row.pk, tick_at) for plan in plans for tick_at in plan.ticks]
    before = store.fired_already(planned) if planned else set()
    for plan in plans:
        if not store.move_on(plan.row, plan.following):
            continue
        for tick_at in plan.ticks:
            if (plan.row.pk, tick_at) not in before:
                yield plan, tick_at, _call(plan.steps, flow)


_reported: set[tuple[int, int]] = set()


def _report_broken(row: TaskSchedule, error: str) -> None:
    """Log it, once for each edit of the row: it stays due."""
    if (row.pk, row.version) not in _reported:
        _reported.add((row.pk, row.version))
        events.SCHEDULE_BROKEN(schedule=row.key, error=error)


def _call(steps: Steps, flow: Flow) -> NewExecution:
    made = flow.go_on(steps)
    assert isinstance(made, NewExecution)
    return made


def _steps(row: TaskSchedule) -> Steps:
    """The call as ``.delay()`` would make it.

    Raises:
        LookupError: this process does not know the task; one of another release does, which fires it.
        TypeError: the arguments are no list and no dict.
    """
    task, config = find_task(row.task_path, row.task_name), runtime().config
    if task is None:
        raise LookupError(f"no task {row.full_name!r} is registered here")
    if not isinstance(row.task_args, list) or not isinstance(row.task_kwargs, dict):
        raise TypeError("task_args is no list, or task_kwargs no dict")
    retries = task.definition.max_retries
    call = Call(
        task_path=row.task_path,
        task_name=row.task_name,
        args=row.task_args,
        kwargs=row.task_kwargs,
        queue_name=row.queue_name or task.queue_name,
        max_retries=config.default_max_retries if retries is None else retries,
        on_failure=steps_of(task.on_failure),
    )
    return (call, *steps_of(task.on_success))
