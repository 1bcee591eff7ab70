"""What groups and bulk calls cost, in a minute or two: ``uv run python benchmarks/composition.py``.

PostgreSQL with its durability on, the embedded Pub/Sub, one worker, no-op tasks. Ratios of one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django

import databases
import postgres

SINGLE_CALLS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="of delay_many (%(default)s)")
    parser.add_argument("--members", type=int, default=10_000, help="of the group (%(default)s)")
    options = parser.parse_args()
    django.setup()
    with (
        postgres.cluster(settings=()) as server,
        databases.postgres_database(server) as database,
        databases.current(database),
        _services(database) as start_worker,
    ):
        _measure_calls(options.calls)
        databases.clear()
        start_worker()
        _measure_group(options.members)


@contextmanager
def _services(database: databases.Database) -> Iterator[Callable[[], object]]:
    """An embedded Pub/Sub as a process of its own; gives a function that starts a worker."""
    from django.test import override_settings

    import processes
    from i3tasks_django.publishing import declare

    port = processes.free_port()
    setting = {"EMULATOR": True, "HOST": f"127.0.0.1:{port}", "PROJECT_ID": "composition"}
    with ExitStack() as exits:
        exits.enter_context(override_settings(PUBSUB_CONFIG=setting))
        services = exits.enter_context(processes.stack(database))
        services.environment["I3TASKS_LOG_LEVEL"] = "WARNING"
        services.start("i3tasks_emulator", "--port", str(port)).says("PUBSUB_EMULATOR_HOST")
        declare()
        yield lambda: services.start("i3tasks_worker", "--queue=heavy")


def _measure_calls(count: int) -> None:
    from project import tasks

    tasks.add_heavy.delay_many((0, 0) for _ in range(100))
    single = _rate(SINGLE_CALLS, lambda: [tasks.add_heavy.delay(n, n) for n in range(SINGLE_CALLS)])
    many = _rate(count, lambda: tasks.add_heavy.delay_many((n, n) for n in range(count)))
    print(f".delay()      {single:8.0f} calls/s ({SINGLE_CALLS:,} calls)")
    print(f".delay_many() {many:8.0f} calls/s ({count:,} calls), {many / single:.0f} times as many")
    for batches in (1, 10):
        print(f"  peak memory of {batches * 1000:6,} calls: {_peak(batches * 1000) / 1024:6,.0f} KiB")


def _measure_group(count: int) -> None:
    from i3tasks_django.models import TaskGroup

    alone = _cost(count, "alone", _call_alone)
    member = _cost(count, "in a group", _call_as_group)
    made = TaskGroup.objects.get()
    print(
        f"  counters: {made.completed_count:,} + {made.failed_count} of {made.total_count:,}, {made.status}"
    )
    print(f"  a member of a group costs {member / alone:.2f} times a task alone")


def _cost(count: int, name: str, call: Callable[[int], None]) -> float:
    """Microseconds of one task, from its call to its end."""
    databases.clear()
    called = count / _rate(count, lambda: call(count))
    each, of_call = (called + _drain(count)) / count * 1e6, called / count * 1e6
    print(f"{count:,} tasks {name:10} {each:6.0f} µs each, {of_call:.0f} µs of them the call")
    return each


def _call_alone(count: int) -> None:
    from project import tasks

    tasks.nothing.using(queue_name="heavy").delay_many(() for _ in range(count))


def _call_as_group(count: int) -> None:
    from i3tasks_django import group
    from project import tasks

    group(tasks.nothing.using(queue_name="heavy").s() for _ in range(count)).delay()


def _rate(count: int, action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return count / (time.perf_counter() - began)


def _peak(count: int) -> int:
    """Bytes that Python had at most while so many calls were made."""
    from project import tasks

    tracemalloc.start()
    tasks.add_heavy.delay_many((n, n) for n in range(count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def _drain(count: int) -> float:
    """Seconds between the first start and the last finish, as the rows tell."""
    from django.db.models import Max, Min

    from i3tasks_django.models import TaskExecutionTry

    while TaskExecutionTry.objects.filter(state="success").count() < count:
        time.sleep(0.2)
    found = TaskExecutionTry.objects.aggregate(first=Min("started_at"), last=Max("finished_at"))
    seconds: float = (found["last"] - found["first"]).total_seconds()
    return seconds


if __name__ == "__main__":
    main()
