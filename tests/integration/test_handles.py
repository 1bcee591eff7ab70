"""What a call gives back."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connections, transaction

import messages
from i3tasks_core.states import ExecutionState
from i3tasks_django import ChainHandle, ResultTimeout
from i3tasks_django.delivery import Verdict
from i3tasks_django.models import TaskExecution
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


def test_a_handle_can_be_made_again_from_its_id():
    handle = tasks.add.delay(1, 2)
    messages.deliver(handle)

    assert ChainHandle(handle.id).result(timeout=0) == 3


def test_the_state_is_as_last_read_until_it_is_refreshed():
    handle = tasks.add.delay(1, 2)
    assert handle.state is ExecutionState.PENDING
    messages.deliver(handle)

    assert handle.state is ExecutionState.PENDING
    assert handle.refresh() is handle
    assert handle.state is ExecutionState.SUCCESS


def test_waiting_for_a_result_ends_when_it_is_there():
    handle = tasks.add.delay(1, 2)

    def deliver():
        messages.deliver(handle)
        connections.close_all()

    threading.Timer(0.1, deliver).start()
    assert handle.result(timeout=10) == 3


@pytest.mark.parametrize("timeout", [0, 0.05, timedelta(milliseconds=50)])
def test_waiting_for_a_result_ends_with_the_timeout(timeout):
    handle = tasks.add.delay(1, 2)

    with pytest.raises(ResultTimeout, match="has not ended within"):
        handle.result(timeout=timeout)


def test_waiting_inside_the_transaction_that_made_the_call_is_refused():
    with transaction.atomic():
        handle = tasks.add.delay(1, 2)
        with pytest.raises(RuntimeError, match=r"inside transaction\.atomic\(\) would wait for ever"):
            handle.result(timeout=5)


def test_a_task_without_a_return_value_gives_none(tmp_path):
    handle = tasks.write.delay(str(tmp_path / "file"), "line")
    messages.deliver(handle)

    assert handle.result(timeout=0) is None


def test_a_rolled_back_call_has_no_state():
    with transaction.atomic():
        handle = tasks.add.delay(1, 2)
        transaction.set_rollback(True)

    with pytest.raises(TaskExecution.DoesNotExist):
        _ = handle.state


def test_a_delayed_call_keeps_its_moment():
    moment = datetime.now(UTC) + timedelta(hours=1)
    handle = tasks.add.using(run_after=moment, queue_name="heavy").delay(1, 2)

    (attempt,) = messages.tries(handle)
    assert attempt.run_after == attempt.next_publish_at == moment
    assert attempt.task_execution.queue_name == "heavy"


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5)), timezone(-timedelta(hours=5))])
def test_a_moment_before_all_calendars_is_due_at_once(zone):
    handle = tasks.add.using(run_after=datetime(1, 1, 1, tzinfo=zone)).delay(1, 2)

    assert messages.deliver(handle) is Verdict.SETTLED


def test_a_delay_is_counted_from_the_call():
    handle = tasks.add.using(run_after=timedelta(minutes=5)).delay(1, 2)

    (attempt,) = messages.tries(handle)
    assert abs(attempt.run_after - attempt.asked_at - timedelta(minutes=5)) < timedelta(seconds=1)


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone: pass an aware datetime"):
        tasks.add.using(run_after=datetime(2030, 1, 1))


def test_options_leave_the_task_itself_as_it_was():
    tasks.add.using(queue_name="heavy")
    handle = tasks.add.delay(1, 2)

    assert TaskExecution.objects.get(pk=handle.id).queue_name == "default"
