"""Calls go through the real thing: rows, a message, a receiver or a worker, and the result comes back."""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest
from django.db import transaction

import messages
import processes
from i3tasks_core.envelope import encode
from i3tasks_core.states import ExecutionState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.runtime import runtime
from project import tasks

# For what does not depend on the database.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_a_call_runs_by_push(services):
    services.receiver()

    handles = [tasks.add.delay(number, 1) for number in range(20)]

    assert [handle.result(timeout=30) for handle in handles] == [number + 1 for number in range(20)]
    assert all(messages.states(handle) == ["success"] for handle in handles)


def test_a_call_runs_by_pull(services):
    services.worker()

    handles = [tasks.add_heavy.delay(number, 1) for number in range(20)]

    assert [handle.result(timeout=30) for handle in handles] == [number + 1 for number in range(20)]
    assert all(messages.states(handle) == ["success"] for handle in handles)


def test_a_rolled_back_call_never_runs_and_a_committed_one_does(embedded_services, tmp_path):
    embedded_services.worker()
    with transaction.atomic():
        tasks.write.delay(str(tmp_path / "file"), "rolled back")
        transaction.set_rollback(True)
    with transaction.atomic():
        handle = tasks.write.delay(str(tmp_path / "file"), "committed")

    handle.result(timeout=30)
    assert processes.lines(tmp_path / "file") == ["committed"]


@ON_SQLITE
def test_every_message_delivered_three_times_runs_its_task_once(embedded_services, tmp_path):
    with transaction.atomic():
        handles = [tasks.write.delay(str(tmp_path / "file"), str(number)) for number in range(30)]
    envelopes = [messages.envelope_of(handle) for handle in handles] * 2
    runtime().publisher.publish(
        runtime().topics["heavy"], [encode(envelope, runtime().keys[0]) for envelope in envelopes]
    )

    embedded_services.worker()
    for handle in handles:
        handle.result(timeout=30)
    worker = embedded_services.worker()  # whatever is left over, a fresh worker would run again
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert sorted(processes.lines(tmp_path / "file"), key=int) == [str(number) for number in range(30)]


@ON_SQLITE
def test_a_delayed_call_starts_when_it_is_due(embedded_services):
    embedded_services.worker()
    embedded_services.beat()

    handle = tasks.add_heavy.using(run_after=timedelta(seconds=2)).delay(1, 2)

    assert handle.result(timeout=30) == 3
    (attempt,) = messages.tries(handle)
    assert attempt.started_at >= attempt.run_after


@ON_SQLITE
def test_a_failed_try_is_repeated_by_the_beat(embedded_services, tmp_path):
    embedded_services.worker()
    embedded_services.beat()

    handle = tasks.succeed_at_last.using(queue_name="heavy").delay(str(tmp_path / "tries"))

    assert handle.result(timeout=40) == 2
    assert messages.states(handle) == ["failed", "success"]


def test_a_killed_workers_task_runs_again_and_completes_once(make_stack, embedded_pubsub, tmp_path):
    services = make_stack(lease=3.0)
    first = services.worker()
    services.beat()
    handle = tasks.write_slowly.delay(str(tmp_path / "file"), "run", 2.0)
    processes.wait_until(lambda: processes.lines(tmp_path / "file"), 20, "the first start")

    first.kill()
    services.worker()

    handle.result(timeout=40)
    assert messages.states(handle) == ["lost", "success"]
    assert processes.lines(tmp_path / "file") == ["start run", "start run", "end run"]


def test_a_long_task_keeps_its_lease(make_stack, embedded_pubsub, tmp_path):
    services = make_stack(lease=2.0)
    services.worker()
    services.receiver()
    services.beat()

    pulled = tasks.write_slowly.delay(str(tmp_path / "pull"), "run", 6.0)
    pushed = tasks.write_slowly.using(queue_name="default").delay(str(tmp_path / "push"), "run", 6.0)

    for handle in (pulled, pushed):
        handle.result(timeout=40)
        assert messages.states(handle) == ["success"]


def test_a_worker_that_was_stopped_for_longer_than_its_lease_changes_nothing(
    make_stack, embedded_pubsub, tmp_path
):
    services = make_stack(lease=2.0)
    sleeper = services.worker()
    services.beat()
    handle = tasks.write_slowly.delay(str(tmp_path / "file"), "run", 2.0)
    processes.wait_until(lambda: processes.lines(tmp_path / "file"), 20, "the first start")
    sleeper.signal(signal.SIGSTOP)
    services.worker()
    handle.result(timeout=40)
    sleeper.signal(signal.SIGCONT)
    sleeper.says("try_stale")

    assert messages.states(handle) == ["lost", "success"]


class TestStopping:
    @ON_SQLITE
    def test_sigterm_lets_running_tasks_end_and_exits_cleanly(self, embedded_services, tmp_path):
        worker = embedded_services.worker()
        handle = tasks.write_slowly.delay(str(tmp_path / "file"), "run", 1.5)
        processes.wait_until(lambda: processes.lines(tmp_path / "file"), 20, "the start")

        worker.signal(signal.SIGTERM)

        assert worker.exit_code() == 0
        assert handle.refresh().state is ExecutionState.SUCCESS
        assert processes.lines(tmp_path / "file") == ["start run", "end run"]

    def test_what_came_in_but_did_not_start_is_left_for_others_at_once(self, embedded_services, tmp_path):
        worker = embedded_services.worker(I3TASKS_CONCURRENCY="1")
        handles = [tasks.write_slowly.delay(str(tmp_path / "file"), str(n), 0.5) for n in range(5)]
        processes.wait_until(lambda: processes.lines(tmp_path / "file"), 20, "the start")
        worker.signal(signal.SIGTERM)
        assert worker.exit_code() == 0
        stopped_at = time.monotonic()

        embedded_services.worker()
        embedded_services.beat()
        for handle in handles:
            handle.result(timeout=40)
        assert not TaskExecutionTry.objects.exclude(state="success").exists()
        assert time.monotonic() - stopped_at < 40

    @ON_SQLITE
    def test_a_task_that_outlasts_the_grace_is_given_up(self, embedded_services, tmp_path):
        worker = embedded_services.worker(I3TASKS_GRACE_SECONDS="1")
        handle = tasks.write_slowly.delay(str(tmp_path / "file"), "run", 60)
        processes.wait_until(lambda: processes.lines(tmp_path / "file"), 20, "the start")

        worker.signal(signal.SIGINT)

        assert worker.exit_code() == 0
        assert messages.states(handle) == ["running"]

    @ON_SQLITE
    def test_the_receiver_answers_what_is_in_flight(self, embedded_services, tmp_path):
        receiver = embedded_services.receiver()
        handle = tasks.write_slowly.using(queue_name="default").delay(str(tmp_path / "file"), "run", 1.5)
        processes.wait_until(lambda: processes.lines(tmp_path / "file"), 20, "the start")

        receiver.signal(signal.SIGTERM)

        assert receiver.exit_code() == 0
        assert handle.refresh().state is ExecutionState.SUCCESS

    @ON_SQLITE
    def test_the_beat_exits_cleanly(self, embedded_services):
        beat = embedded_services.beat()
        beat.signal(signal.SIGTERM)

        assert beat.exit_code() == 0
