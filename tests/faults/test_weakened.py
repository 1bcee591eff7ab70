"""The suite bites: with each of these weakenings of the product switched on, a named test fails.

The races among them are decided here by hand: the first holds its transaction open until the second has come
as far as it can.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from weaken import VARIABLE, WEAKENINGS

import messages
from i3tasks_core import outcome
from i3tasks_core.claim import Claim
from i3tasks_core.finish import Finish
from i3tasks_django import ChainHandle, store
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from project import tasks
from waiting import wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

RACES = "tests/faults/test_weakened.py::TestRaces"
INTEGRATION = "tests/integration"
BITES = {
    "fence": [f"{INTEGRATION}/test_delivery.py::test_a_finish_with_an_older_fence_changes_nothing[sqlite]"],
    "claim": [f"{RACES}::test_a_claim_beside_another_gets_nothing[postgresql]"],
    "rescue": [f"{RACES}::test_a_rescue_beside_a_finish_reopens_nothing[postgresql]"],
    "join": [f"{RACES}::test_two_members_that_end_at_once_join_their_group[postgresql]"],
    "then": [f"{RACES}::test_then_beside_the_end_loses_no_step[postgresql]"],
    "relay": [
        f"{INTEGRATION}/test_publishing.py::test_a_hook_that_raises_before_ours_costs_a_delay_and_no_task[sqlite]"
    ],
    "version": [
        f"{INTEGRATION}/test_schedules.py::test_a_tick_planned_by_an_old_version_does_not_fire[sqlite]",
        f"{INTEGRATION}/test_schedules.py::test_a_plan_from_before_an_edit_fires_nothing[sqlite]",
    ],
}
"""Tests that each weakening must fail, every one of them."""


def second_while_first_is_open(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Two transactions, of which the first commits when the second is done or waits for it."""
    began, done = threading.Event(), threading.Event()
    pids: list[int] = []

    def run_second() -> Any:
        try:
            connection.ensure_connection()
            pids.append(connection.connection.info.backend_pid)
            began.set()
            return second()
        finally:
            done.set()
            connections.close_all()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            made = first()
            running = other.submit(run_second)
            assert began.wait(20)
            wait_until(lambda: done.is_set() or _waits_for_a_lock(pids[0]))
        return made, running.result(20)


def _waits_for_a_lock(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [pid])
        return bool(cursor.fetchone()[0])


def settle(claim: Claim) -> store.Settlement:
    """Inside the caller's transaction, if there is one."""
    with transaction.atomic():
        return store.settle_within([Finish(claim, outcome.succeeded(1))])


on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
"""SQLite has one writer at a time, so that nobody comes second while the first is open."""


@on_postgresql
@pytest.mark.usefixtures("database", "silent_pubsub")
class TestRaces:
    def test_a_claim_beside_another_gets_nothing(self):
        handle = tasks.nothing.delay()

        first, second = second_while_first_is_open(
            lambda: messages.claim(handle), lambda: messages.claim(handle)
        )

        assert (len(first), second) == (1, [])
        assert messages.tries(handle)[0].fence == 1

    def test_a_rescue_beside_a_finish_reopens_nothing(self):
        handle = tasks.nothing.delay()
        (held,) = messages.claim(handle)
        TaskExecutionTry.objects.update(lease_until=Now())

        settled, rescued = second_while_first_is_open(
            lambda: settle(held), lambda: store.rescue([held.try_id])
        )

        assert settled.is_ours
        assert not rescued.is_ours
        assert messages.states(handle) == ["success"]

    def test_two_members_that_end_at_once_join_their_group(self):
        group = TaskGroup.dispatch([tasks.nothing.s(), tasks.nothing.s()], callback=tasks.log_sent.s())
        members = TaskExecution.objects.filter(task_group=group).order_by("pk")
        (one,), (other,) = (messages.claim(ChainHandle(member.pk)) for member in members)

        second_while_first_is_open(lambda: settle(one), lambda: settle(other))

        group.refresh_from_db()
        assert (group.status, group.completed_count) == ("success", 2)
        assert TaskExecution.objects.filter(joins_group=group).count() == 1

    def test_then_beside_the_end_loses_no_step(self):
        handle = tasks.nothing.delay()
        (held,) = messages.claim(handle)

        second_while_first_is_open(lambda: settle(held), lambda: handle.then(tasks.log_sent))

        assert [row.task_name for row in TaskExecution.objects.filter(chained_from=handle.id)] == ["log_sent"]

    def test_the_end_beside_then_finds_its_step(self):
        handle = tasks.nothing.delay()
        (held,) = messages.claim(handle)

        second_while_first_is_open(lambda: handle.then(tasks.log_sent), lambda: settle(held))

        assert [row.task_name for row in TaskExecution.objects.filter(chained_from=handle.id)] == ["log_sent"]


def run_tests(*node_ids: str, weakening: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {VARIABLE: weakening, "PYTHONPATH": str(HERE)}
    # What xdist tells its workers would make this a worker of nobody's.
    for name in [name for name in environment if name.startswith(("PYTEST_", "TEST_"))]:
        del environment[name]
    options = ["-q", "-n", "0", "-p", "no:randomly", "-p", "weaken", "--tb=line"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *node_ids],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("weakening", WEAKENINGS)
def test_a_weakened_product_fails_the_suite(weakening):
    done = run_tests(*BITES[weakening], weakening=weakening)

    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    # All of them, and none of them by an error on the way to it.
    assert re.search(rf"^{len(BITES[weakening])} failed in ", done.stdout, re.MULTILINE), done.stdout


def test_the_product_as_it_is_passes_the_same_tests():
    node_ids = [node_id for bites in BITES.values() for node_id in bites]
    done = run_tests(*node_ids)

    assert re.search(rf"^{len(node_ids)} passed in ", done.stdout, re.MULTILINE), done.stdout + done.stderr
