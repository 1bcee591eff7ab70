"""Three figures of this machine, in half a minute: ``uv run python benchmarks/quick.py``.

PostgreSQL with its durability on, the embedded Pub/Sub, one worker, one receiver, no-op tasks, history kept.
Figures of one run compare with each other; machines differ.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django

import databases
import postgres

SINGLE_CALLS = 500
DRAINED = 10_000
BATCH = 500


def main() -> None:
    django.setup()
    with (
        postgres.cluster(settings=()) as server,
        databases.postgres_database(server) as database,
        databases.current(database),
    ):
        _measure(database)


def _measure(database: databases.Database) -> None:
    from django.conf import settings
    from django.test import override_settings

    import processes
    from i3tasks_django.publishing import declare
    from i3tasks_django.types import PushQueue
    from project import tasks

    port = processes.free_port()
    setting = {"EMULATOR": True, "HOST": f"127.0.0.1:{port}", "PROJECT_ID": "quick"}
    with ExitStack() as exits:
        exits.enter_context(override_settings(PUBSUB_CONFIG=setting))
        services = exits.enter_context(processes.stack(database))
        push = PushQueue("default", "default", services.push_endpoint)
        exits.enter_context(override_settings(I3TASKS=replace(settings.I3TASKS, default_queue=push)))
        services.environment["I3TASKS_LOG_LEVEL"] = "WARNING"
        services.start("i3tasks_emulator", "--port", str(port)).says("PUBSUB_EMULATOR_HOST")
        declare()
        print(f".delay()   {_call_rate(tasks.nothing):8.0f} calls/s")
        services.start("i3tasks_worker", "--queue=heavy")
        print(f"pull       {_drain_rate(tasks.nothing, 'heavy'):8.0f} tasks/s")
        services.receiver()
        print(f"push       {_drain_rate(tasks.nothing, 'default'):8.0f} tasks/s")


def _call_rate(task: object) -> float:
    """Single calls, each a transaction of its own, on a queue that nobody works on yet."""
    call: Callable[[], object] = task.using(queue_name="heavy").delay  # type: ignore[attr-defined]
    call()
    began = time.perf_counter()
    for _ in range(SINGLE_CALLS):
        call()
    return SINGLE_CALLS / (time.perf_counter() - began)


def _drain_rate(task: object, queue_name: str) -> float:
    """Tries per second between the first start and the last finish, as the rows tell."""
    from django.db import transaction
    from django.db.models import Max, Min

    from i3tasks_django.models import TaskExecutionTry

    for _ in range(DRAINED // BATCH):
        with transaction.atomic():
            for _ in range(BATCH):
                task.using(queue_name=queue_name).delay()  # type: ignore[attr-defined]
    tries = TaskExecutionTry.objects.filter(task_execution__queue_name=queue_name)
    while tries.exclude(state="success").exists():
        time.sleep(0.2)
    found = tries.aggregate(first=Min("started_at"), last=Max("finished_at"))
    return tries.count() / (found["last"] - found["first"]).total_seconds()


if __name__ == "__main__":
    main()
