"""However a project has set its database up: transactions, connections kept or pooled, isolation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection

import databases
import messages
from concurrency import at_once
from i3tasks_django import chain, group
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.runtime import runtime
from project import tasks
from project.variants import OF_POSTGRES, VARIANT, VARIANTS, varied

ROOT = Path(__file__).parents[2]
TOO_SMALL = "pool-of-two"
ORDINARY = [name for name in (*VARIANTS, *OF_POSTGRES) if name != TOO_SMALL]
SUITE = [
    "tests/integration/test_calls.py",
    "tests/integration/test_delivery.py",
    "tests/integration/test_batches.py",
    "tests/integration/test_chains.py",
    "tests/integration/test_groups.py",
    "tests/integration/test_push.py",
    "tests/integration/test_races.py",
    "tests/integration/test_schedules.py",
    "tests/services/test_delivering.py",
]


@pytest.fixture(params=ORDINARY)
def variant(request: pytest.FixtureRequest, postgres_session: databases.Database) -> Iterator[str]:
    name: str = request.param
    with databases.current(replace(postgres_session, settings=varied(postgres_session.settings, name))):
        yield name
        databases.clear()
        connection.close()
        if name.startswith("pool"):
            connection.close_pool()


@pytest.mark.usefixtures("variant", "silent_pubsub")
def test_members_that_end_at_once_are_joined_once():
    made = chain(
        group(tasks.look_and_wait.s(number) for number in range(3)), tasks.log_sent.s("joined")
    ).delay()
    waiting = [messages.bell_of(row) for row in TaskExecutionTry.objects.order_by("pk")]

    verdicts = at_once(*[lambda bell=bell: Delivery(runtime()).deliver(bell) for bell in waiting])

    assert verdicts == [Verdict.SETTLED] * 3
    assert messages.deliver_all() == 1
    made.refresh_from_db()
    assert (made.status, made.completed_count) == ("success", 3)
    assert messages.called()[-1] == "log_sent success 'joined'"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_no_thread_of_a_worker_keeps_a_pooled_connection_that_others_need(services, tmp_path):
    services.worker(**{VARIANT: TOO_SMALL})
    services.beat(**{VARIANT: TOO_SMALL})

    slow = tasks.write_slowly.delay(str(tmp_path / "file"), "run", 2.0)  # longer than its lease
    quick = [tasks.add_heavy.delay(number, 1) for number in range(20)]

    assert [handle.result(timeout=20) for handle in quick] == [number + 1 for number in range(20)]
    slow.result(timeout=20)
    assert messages.states(slow) == ["success"]


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("variant", ORDINARY)
def test_the_suite_is_green(variant):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    which = [] if variant in VARIANTS else ["-k", "not sqlite"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not google and not chaos", *which, *SUITE],
        cwd=ROOT,
        env=environment | {VARIANT: variant},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.splitlines()[-1:]
    print(f"{variant}: {last}")
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
