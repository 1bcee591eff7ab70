"""How a survey went, read off the rows of i3tasks: tries, failures, throughput, waiting times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from i3tasks_core.states import ExecutionState, TryState
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from i3tasks_examples.survey import library
from i3tasks_examples.survey.tasks import survey_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try, its moments in seconds after the first call; its error class without the module."""

    subject: str
    queue_name: str
    try_number: int
    state: str
    asked: float
    started: float
    finished: float
    worker: str
    error_class: str
    error_message: str
    traceback: str
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """A whole survey.

    Attributes:
        attempts: every try, in the order of the calls.
        groups: how many groups ended in which state.
        failures: last tries of the tasks that failed.
        retried: the tries of all tasks that took more than one.
        seconds: from the first call of a file's survey to the end of the last.
        waits: seconds from call to start of all first tries, ascending.
        first_wait: the very first call's, made while nothing else was going on.
    """

    task_count: int
    succeeded_count: int
    groups: dict[str, int]
    attempts: tuple[Attempt, ...]
    failures: tuple[Attempt, ...]
    retried: tuple[Attempt, ...]
    errors: dict[str, int]
    tasks_by_queue: dict[str, int]
    seconds: float
    tasks_per_second: float
    waits: tuple[float, ...]
    first_wait: float

    def wait_percentile(self, percent: float) -> float:
        """So many percent of the first tries started within this many seconds of their call."""
        return percentile(self.waits, percent)


def measure() -> Measures:
    """Read everything; the survey has ended."""
    tries = list(
        TaskExecutionTry.objects.exclude(finished_at=None)
        .select_related("task_execution")
        .order_by("task_execution__created_at", "task_execution_id", "try_number")
    )
    last_numbers = {attempt.task_execution_id: attempt.try_number for attempt in tries}
    origin = min(attempt.asked_at for attempt in tries)
    attempts = tuple(
        _attempt(attempt, origin, is_last=attempt.try_number == last_numbers[attempt.task_execution_id])
        for attempt in tries
    )
    retried = {attempt.task_execution_id for attempt in tries if attempt.try_number > 1}
    survey = [
        attempt
        for attempt, row in zip(attempts, tries, strict=True)
        if row.task_execution.task_name == survey_file.definition.name
    ]
    seconds = max(attempt.finished for attempt in survey) - min(attempt.asked for attempt in survey)
    return Measures(
        task_count=len(last_numbers),
        succeeded_count=TaskExecution.objects.filter(state=ExecutionState.SUCCESS).count(),
        groups=dict(Counter(TaskGroup.objects.values_list("status", flat=True))),
        attempts=attempts,
        failures=tuple(a for a in attempts if a.is_last and a.state != TryState.SUCCESS),
        retried=tuple(a for a, row in zip(attempts, tries, strict=True) if row.task_execution_id in retried),
        errors=dict(Counter(a.error_class for a in attempts if a.error_class)),
        tasks_by_queue=dict(Counter(a.queue_name for a in attempts if a.try_number == 1)),
        seconds=seconds,
        tasks_per_second=len(survey) / seconds if seconds else 0.0,
        waits=tuple(sorted(a.started - a.asked for a in attempts if a.try_number == 1)),
        first_wait=attempts[0].started - attempts[0].asked,
    )


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    if not ascending:
        return 0.0
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]


def _attempt(row: TaskExecutionTry, origin: datetime, *, is_last: bool) -> Attempt:
    assert row.started_at is not None
    assert row.finished_at is not None
    return Attempt(
        subject=_subject(row.task_execution),
        queue_name=row.task_execution.queue_name,
        try_number=row.try_number,
        state=row.state,
        asked=_seconds((row.run_after or row.asked_at) - origin),
        started=_seconds(row.started_at - origin),
        finished=_seconds(row.finished_at - origin),
        worker=row.worker,
        error_class=row.error_class.rpartition(".")[2],
        error_message=row.error_message,
        traceback=row.traceback,
        is_last=is_last,
    )


def _subject(execution: TaskExecution) -> str:
    """What the task was about, for people: the file's name, or the call."""
    if execution.task_name == survey_file.definition.name:
        return library.name_of(Path(execution.task_args[0]))
    return f"{execution.task_name}({', '.join(map(repr, execution.task_args))})"


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()
