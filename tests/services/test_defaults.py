"""The promises at default settings, with nothing scaled down: these take a minute, and mostly wait."""

from __future__ import annotations

import time

import pytest

import messages
import processes
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.publishing import declare
from ports import free_port
from project import tasks

pytestmark = pytest.mark.waits


@pytest.mark.timeout(240)
def test_a_killed_workers_task_runs_again_within_ninety_seconds_and_completes_once(
    embedded_services, tmp_path
):
    first = embedded_services.worker()
    embedded_services.beat()
    handle = tasks.write_slowly.delay(str(tmp_path / "file"), "run", 3.0)
    processes.wait_until(lambda: processes.lines(tmp_path / "file"), 30, "the first start")

    first.kill()
    killed_at = time.monotonic()
    embedded_services.worker()
    processes.wait_until(lambda: len(processes.lines(tmp_path / "file")) == 2, 90, "the second start")
    print(f"a killed worker's task ran again after {time.monotonic() - killed_at:.1f} s")

    handle.result(timeout=60)
    assert messages.states(handle) == ["lost", "success"]
    assert processes.lines(tmp_path / "file") == ["start run", "start run", "end run"]


@pytest.mark.timeout(300)
def test_pubsub_away_for_a_minute_loses_nothing(make_stack, override, tmp_path):
    port = free_port()
    override(PUBSUB_CONFIG={"EMULATOR": True, "HOST": f"127.0.0.1:{port}", "PROJECT_ID": "away"})
    services = make_stack()
    pubsub = services.start("i3tasks_emulator", "--port", str(port))
    pubsub.says("PUBSUB_EMULATOR_HOST")
    declare()
    services.receiver()
    services.worker()
    services.beat()
    tasks.add_heavy.delay(0, 0).result(timeout=30)
    tasks.add.delay(0, 0).result(timeout=30)

    pubsub.kill()
    stopped_at = time.monotonic()
    handles = []
    while time.monotonic() - stopped_at < 60:
        handles += [tasks.add_heavy.delay(len(handles), 1), tasks.add.delay(len(handles), 1)]
        time.sleep(0.5)
    services.start("i3tasks_emulator", "--port", str(port)).says("PUBSUB_EMULATOR_HOST")

    back_at = time.monotonic()
    for handle in handles:
        handle.result(timeout=120)
    print(f"{len(handles)} calls made while Pub/Sub was away ended {time.monotonic() - back_at:.1f} s after")
    assert not TaskExecutionTry.objects.exclude(state="success", try_number=1).exists()
