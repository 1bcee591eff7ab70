"""What a pass of the beat costs, and how late delayed calls start: ``uv run python benchmarks/beat.py``.

PostgreSQL with its durability on, the embedded Pub/Sub, one beat, one worker, no-op tasks. A minute or two,
most of it for the million finished executions.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django

import databases
import postgres

PASSES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000, help="none of them due (%(default)s)")
    parser.add_argument("--history", type=int, default=1_000_000, help="finished executions (%(default)s)")
    parser.add_argument("--delayed", type=int, default=1_000, help="calls due in one second (%(default)s)")
    options = parser.parse_args()
    django.setup()
    with (
        postgres.cluster(settings=()) as server,
        databases.postgres_database(server) as database,
        databases.current(database),
        _services(database) as start,
    ):
        _measure_passes(options.schedules, options.history)
        for concurrency in (8, 32):
            _measure_delays(options.delayed, concurrency, start)


@contextmanager
def _services(database: databases.Database) -> Iterator[Callable[..., object]]:
    """An embedded Pub/Sub as a process of its own; gives a function that starts other services."""
    from django.test import override_settings

    import processes
    from i3tasks_django.publishing import declare

    port = processes.free_port()
    setting = {"EMULATOR": True, "HOST": f"127.0.0.1:{port}", "PROJECT_ID": "beat"}
    with ExitStack() as exits:
        exits.enter_context(override_settings(PUBSUB_CONFIG=setting))
        services = exits.enter_context(processes.stack(database))
        services.start("i3tasks_emulator", "--port", str(port)).says("PUBSUB_EMULATOR_HOST")
        declare()
        yield services.start


def _measure_passes(schedule_count: int, history_count: int) -> None:
    _make_schedules(schedule_count)
    _measure_pass(f"{schedule_count:,} schedules, nothing due")
    seconds = _make_history(history_count)
    _measure_pass(f"and {history_count:,} finished executions")
    print(f"  (made in {seconds:.0f} s)")
    databases.clear()


def _make_schedules(count: int) -> None:
    from i3tasks_django.models import TaskSchedule
    from i3tasks_django.store import database_now

    later = database_now() + timedelta(days=1)
    TaskSchedule.objects.bulk_create(
        TaskSchedule(
            key=f"schedule-{number}",
            task_path="project.tasks",
            task_name="nothing",
            cron="0 0 * * *",
            timezone="Europe/Rome",
            next_run_at=later,
        )
        for number in range(count)
    )


def _make_history(count: int) -> float:
    """Executions and their tries of the last thirty days, all of them successful; the seconds that took."""
    from django.db import connection

    began = time.perf_counter()
    with connection.cursor() as cursor:
        for statement in _HISTORY:
            cursor.execute(statement, {"count": count})
        cursor.execute("VACUUM ANALYZE")
    return time.perf_counter() - began


# Ids that grow, as those of version 7 do.
_HISTORY = (
    """
    INSERT INTO i3tasks_django_taskexecution
        (id, task_path, task_name, task_args, task_kwargs, queue_name, state, max_retries, chain,
         after_failure, created_at, finished_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'project.tasks', 'nothing', '[]', '{}', 'heavy', 'success',
        3, '[]', false, moment, moment
    FROM generate_series(1, %(count)s) AS n,
        LATERAL (SELECT now() - (%(count)s - n) * INTERVAL '30 days' / %(count)s AS moment) AS spread
    """,
    """
    INSERT INTO i3tasks_django_taskexecutiontry
        (task_execution_id, try_number, state, asked_at, next_publish_at, publish_count, started_at,
         finished_at, fence, worker, error_class, error_message, traceback)
    SELECT id, 1, 'success', created_at, created_at + INTERVAL '1 minute', 1, created_at, created_at, 1,
        'host:1', '', '', ''
    FROM i3tasks_django_taskexecution
    """,
)


def _measure_pass(what: str) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from i3tasks_django.maintenance import maintain

    maintain()
    with CaptureQueriesContext(connection) as queries:
        maintain()
    took = sorted(_seconds(maintain) for _ in range(PASSES))
    statements = [query["sql"].split()[0] for query in queries]
    print(
        f"{what}: {len(statements)} statements a pass, "
        f"{sum(word in ('BEGIN', 'COMMIT') for word in statements)} of them BEGIN or COMMIT; "
        f"p50 {took[PASSES // 2] * 1e3:.1f} ms, p99 {took[PASSES * 99 // 100] * 1e3:.1f} ms"
    )


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _measure_delays(count: int, concurrency: int, start: Callable[..., object]) -> None:
    """All of them due within one second, spread over it."""
    from django.db import transaction
    from django.db.models import F

    from i3tasks_django.models import TaskExecutionTry
    from i3tasks_django.store import database_now
    from project import tasks

    databases.clear()
    services = [
        start("i3tasks_beat", PORT="0"),
        start("i3tasks_worker", "--queue=heavy", f"--concurrency={concurrency}"),
    ]
    for service in services:
        service.says("service_started")  # type: ignore[attr-defined]
    due_at = (database_now() + timedelta(seconds=6)).replace(microsecond=0)
    with transaction.atomic():
        for number in range(count):
            at = due_at + timedelta(seconds=number / count)
            tasks.nothing.using(queue_name="heavy", run_after=at).delay()
    while TaskExecutionTry.objects.filter(state="success").count() < count:
        time.sleep(0.2)
    errors = TaskExecutionTry.objects.values_list(F("started_at") - F("run_after"), flat=True)
    late = sorted(error.total_seconds() for error in errors)
    print(
        f"{count:,} delayed calls due in one second, concurrency {concurrency}: "
        f"late p50 {late[count // 2]:.2f} s, p99 {late[count * 99 // 100]:.2f} s, max {late[-1]:.2f} s"
    )
    for service in services:
        service.end()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
