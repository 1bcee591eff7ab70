"""Whether what has ended slows down what is to come: a drain and a beat's pass, beside a long history."""

from __future__ import annotations

import time
from datetime import timedelta
from statistics import median

from benchmarks.figures import percentile
from benchmarks.measures import drain
from benchmarks.sessions import Machine, Session

_SCHEDULES = 1_000


def measure_history(ready: Session, machine: Machine, is_quick: bool) -> dict[str, float]:
    history, tasks, drains = (2_000, 100, 1) if is_quick else (1_000_000, 5_000, 3)
    ready.ask(f"{__name__}.make_schedules", count=_SCHEDULES)
    empty = _drains(ready, machine, tasks, drains)
    found = _passes(ready, f"{_SCHEDULES:,} schedules, nothing due")
    ready.ask(f"{__name__}.make_history", count=history)
    full = _drains(ready, machine, tasks, drains)
    found |= _passes(ready, f"and {history:,} finished executions")
    return {
        "drain/s, empty tables": empty,
        f"drain/s, {history:,} finished executions": full,
        f"drain, {history:,} finished executions : empty tables": full / empty,
    } | found


def _drains(ready: Session, machine: Machine, tasks: int, times: int) -> float:
    return median(drain(ready, machine.database, tasks)[1] for _ in range(times))


def _passes(ready: Session, when: str) -> dict[str, float]:
    found: dict[str, float] = ready.ask(f"{__name__}.measure_passes", count=200)
    return {f"{name}, {when}": value for name, value in found.items()}


def make_schedules(count: int) -> None:
    """In the project, like all that follows. None of them is due."""
    from django.utils import timezone

    from i3tasks_django.models import TaskSchedule

    later = timezone.now() + timedelta(days=1)
    TaskSchedule.objects.bulk_create(
        TaskSchedule(
            key=f"schedule-{number}",
            task_path="benchmarks.peers.ours.tasks",
            task_name="nothing",
            cron="0 0 * * *",
            timezone="Europe/Rome",
            next_run_at=later,
        )
        for number in range(count)
    )


def make_history(count: int) -> None:
    """Executions and their tries of the last thirty days, all of them successful."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in _HISTORY:
            cursor.execute(statement, {"count": count})
        cursor.execute("ANALYZE i3tasks_django_taskexecution, i3tasks_django_taskexecutiontry")


_HISTORY = (
    """
    INSERT INTO i3tasks_django_taskexecution
        (id, task_path, task_name, task_args, task_kwargs, queue_name, state, max_retries, chain,
         after_failure, created_at, finished_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'benchmarks.peers.ours.tasks', 'nothing', '[]', '{}',
        'heavy', 'success', 3, '[]', false, moment, moment
    FROM generate_series(1, %(count)s) AS n,
        LATERAL (SELECT now() - (%(count)s - n) * INTERVAL '30 days' / %(count)s AS moment) AS spread
    """,
    """
    INSERT INTO i3tasks_django_taskexecutiontry
        (task_execution_id, try_number, state, asked_at, next_publish_at, publish_count, started_at,
         finished_at, fence, worker, error_class, error_message, traceback)
    SELECT id, 1, 'success', created_at, created_at + INTERVAL '1 minute', 1, created_at, created_at, 1,
        'host:1', '', '', ''
    FROM i3tasks_django_taskexecution WHERE id < '01000000-0000-0000-0000-000000000000'
    """,
)


def measure_passes(count: int) -> dict[str, float]:
    """What one pass of the beat asks of the database, and how long it takes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from i3tasks_django.maintenance import maintain

    maintain()
    with CaptureQueriesContext(connection) as queries:
        maintain()
    took = sorted(_seconds_of_pass() for _ in range(count))
    return {
        "statements a pass": len(queries),
        "ms a pass, p50": percentile(took, 50) * 1e3,
        "ms a pass, p99": percentile(took, 99) * 1e3,
    }


def _seconds_of_pass() -> float:
    from i3tasks_django.maintenance import maintain

    began = time.perf_counter()
    maintain()
    return time.perf_counter() - began
