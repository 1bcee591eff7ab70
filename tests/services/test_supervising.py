"""A worker of several processes: whoever ends is replaced, and all end together."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable

import pytest

import processes
from i3tasks_django.models import TaskExecutionTry
from processes import wait_until
from project import tasks

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def pids() -> list[int]:
    """Who has run anything."""
    names = TaskExecutionTry.objects.exclude(worker="").values_list("worker", flat=True)
    return sorted({int(name.rpartition(":")[2]) for name in names})


def everything_succeeded() -> bool:
    return not TaskExecutionTry.objects.exclude(state="success").exists()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run_on(count: int) -> list[int]:
    """Call until as many processes have worked; who they were."""

    def have_worked() -> bool:
        tasks.write_slowly.delay("/dev/null", "x", 0.05)
        time.sleep(0.05)  # as fast as one process works
        return len(pids()) >= count

    wait_until(have_worked, 60, f"{count} processes work")
    return pids()


@pytest.fixture
def start(embedded_services: processes.Stack) -> Callable[..., processes.Process]:
    def start(*options: str) -> processes.Process:
        worker = embedded_services.start("i3tasks_worker", "--queue=heavy", "--concurrency=1", *options)
        worker.says("service_started")
        return worker

    return start


def test_processes_share_the_work_are_replaced_and_end_together(start):
    worker = start("--processes=2", "--health-port=0")
    port = int(re.search(r"health_port=(\d+)", worker.says("health_port=")).group(1))
    first, _second = run_on(2)
    wait_until(lambda: processes.get(port, "/health/ready")[0] == 200, 20)

    os.kill(first, signal.SIGKILL)
    worker.says("worker_exited")
    run_on(3)
    assert worker.pid not in pids()  # it works on nothing itself

    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert not [pid for pid in pids() if is_alive(pid)]


def test_a_process_that_has_begun_enough_tasks_makes_room_for_another(start):
    worker = start("--processes=2", "--max-tasks=1")

    assert len(run_on(4)) >= 4
    ended = json.loads(worker.says('"worker_exited"'))
    assert (ended["exit_code"], ended["pause"]) == (0, 0.0)


def test_a_single_process_that_takes_too_much_memory_ends_well(start):
    worker = start("--max-rss=1")

    assert worker.exit_code() == 0
    assert "it takes" in worker.output


def test_processes_end_with_their_supervisor(start):
    worker = start("--processes=2")
    members = run_on(2)
    worker.kill()

    wait_until(lambda: not any(map(is_alive, members)), 40)
