"""What becomes of a try: each way it can end, and that only its holder may say so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections
from django.db.models import F
from django.db.models.functions import Now

import messages
from i3tasks_core import outcome
from i3tasks_core.finish import Finish
from i3tasks_core.identifiers import uuid7
from i3tasks_core.states import ExecutionState
from i3tasks_django import TaskCancelled, TaskFailed, store
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.models import TaskExecution, TaskExecutionResult, TaskExecutionTry
from i3tasks_django.runtime import runtime
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

LEASE = timedelta(seconds=60)


def claim(handle):
    (held,) = store.claim([messages.envelope_of(handle)], lease=LEASE, worker="a worker")
    return held


def expire_leases():
    TaskExecutionTry.objects.filter(state="running").update(lease_until=Now() - timedelta(seconds=1))


def test_a_claim_says_all_that_is_needed_to_run():
    handle = tasks.add_heavy.delay(1, b=2)

    held = claim(handle)

    assert (held.execution_id, held.try_number, held.fence) == (handle.id, 1, 1)
    assert (held.task_path, held.task_name, held.queue_name) == ("project.tasks", "add_heavy", "heavy")
    assert (held.args, held.kwargs, held.max_retries) == ([1], {"b": 2}, 3)
    assert held.asked_at.tzinfo is not None
    attempt = TaskExecutionTry.objects.get()
    assert (attempt.state, attempt.worker) == ("running", "a worker")
    assert timedelta(seconds=50) < attempt.lease_until - attempt.started_at < timedelta(seconds=70)


def test_a_second_claim_gets_nothing():
    handle = tasks.add.delay(1, 2)
    claim(handle)

    assert store.claim([messages.envelope_of(handle)], lease=LEASE, worker="another") == []


def test_a_try_is_not_claimed_before_its_time():
    handle = tasks.add.using(run_after=timedelta(minutes=1)).delay(1, 2)

    assert messages.deliver(handle) is Verdict.NOTHING_TO_DO
    TaskExecutionTry.objects.update(run_after=Now())
    assert messages.deliver(handle) is Verdict.SETTLED


def test_many_tries_are_claimed_at_once_and_unknown_ids_do_no_harm():
    handles = [tasks.add.delay(number, 0) for number in range(5)]
    bells = [messages.envelope_of(handle) for handle in handles]

    held = store.claim([*bells, replace(bells[0], try_id=10**9)], lease=LEASE, worker="w")

    assert sorted(item.try_id for item in held) == [bell.try_id for bell in bells]
    assert sorted(item.args[0] for item in held) == list(range(5))


def test_a_try_is_claimed_only_with_its_own_executions_id():
    bell = messages.envelope_of(tasks.add.delay(1, 2))

    assert store.claim([replace(bell, execution_id=uuid7())], lease=LEASE, worker="w") == []
    assert len(store.claim([bell], lease=LEASE, worker="w")) == 1


def test_a_task_learns_about_its_own_run():
    handle = tasks.who_am_i.delay()
    messages.deliver(handle)

    assert handle.result(timeout=0) == {
        "id": str(handle.id),
        "try_number": 1,
        "queue_name": "default",
        "task_name": "who_am_i",
        "is_cancelled": False,
    }


def test_a_retry_waits_in_the_database():
    handle = tasks.fail.delay()
    messages.deliver(handle)

    first, second = messages.tries(handle)
    assert (first.state, second.state, second.try_number) == ("failed", "pending", 2)
    assert second.run_after == second.next_publish_at
    assert timedelta(0) <= second.run_after - first.finished_at <= timedelta(seconds=6)
    assert handle.state is ExecutionState.PENDING


def test_an_error_that_no_retry_helps_fails_for_good():
    handle = tasks.fail_for_good.delay()
    messages.deliver(handle)

    assert messages.states(handle) == ["failed"]
    with pytest.raises(TaskFailed, match="SyntaxError: not Python"):
        handle.result(timeout=0)


def test_an_error_outside_retry_for_fails_for_good():
    handle = tasks.fail_unlisted.delay()
    messages.deliver(handle)

    assert messages.states(handle) == ["failed"]
    assert handle.state is ExecutionState.FAILED


def test_discard_fails_for_good_with_its_reason():
    handle = tasks.discard.delay()
    messages.deliver(handle)

    (attempt,) = messages.tries(handle)
    assert (attempt.state, attempt.error_message) == ("failed", "nobody wants it")
    assert attempt.error_class == "i3tasks_core.errors.Discard"
    assert handle.state is ExecutionState.FAILED


def test_retry_after_decides_when_the_next_try_is_due():
    handle = tasks.ask_again.delay(120)
    messages.deliver(handle)

    first, second = messages.tries(handle)
    assert abs(second.run_after - first.finished_at - timedelta(seconds=120)) < timedelta(seconds=1)


def test_retry_at_once_may_be_claimed_at_once():
    handle = tasks.ask_again.delay(0)
    messages.deliver(handle)
    messages.deliver(handle)

    assert messages.states(handle) == ["failed", "failed", "pending"]


def test_retries_asked_for_end_with_the_allowed_tries():
    handle = tasks.ask_again.delay(0)
    for _ in range(6):
        messages.deliver(handle)

    assert messages.states(handle) == ["failed"] * 4
    assert handle.state is ExecutionState.FAILED


def test_a_task_that_fails_first_succeeds_later(tmp_path):
    handle = tasks.succeed_at_last.delay(str(tmp_path / "tries"))
    messages.deliver(handle)
    TaskExecutionTry.objects.update(run_after=None)
    messages.deliver(handle)

    assert messages.states(handle) == ["failed", "success"]
    assert handle.result(timeout=0) == 2


@pytest.mark.parametrize("task", [tasks.sleep_long, tasks.sleep_async])
def test_a_timeout_interrupts_the_task_and_fails_the_try(task):
    handle = task.delay()
    messages.deliver(handle)

    first = messages.tries(handle)[0]
    assert (first.state, first.error_class) == ("failed", "i3tasks_core.errors.TaskTimeout")
    assert "ran longer than its timeout of 0." in first.error_message


def test_an_async_task_runs_and_may_use_the_database():
    Group.objects.create(name="one")
    added, counted = tasks.add_async.delay(1, 2), tasks.count_groups_async.delay()
    messages.deliver(added)
    messages.deliver(counted)

    assert (added.result(timeout=0), counted.result(timeout=0)) == (3, 1)


def test_a_result_that_cannot_be_stored_is_a_failed_try_with_that_reason():
    handle = tasks.give_back_an_object.delay()
    messages.deliver(handle)

    (attempt,) = messages.tries(handle)
    assert attempt.state == "failed"
    assert "result is a builtins.object, which is not JSON" in attempt.error_message
    assert handle.state is ExecutionState.FAILED


def test_a_task_that_exits_the_interpreter_fails():
    handle = tasks.exit_the_interpreter.delay()
    messages.deliver(handle)

    assert messages.tries(handle)[0].error_class == "SystemExit"


def test_a_transaction_left_open_is_undone_and_does_not_reach_the_settlement():
    handle = tasks.leave_a_transaction_open.delay()
    messages.deliver(handle)

    assert handle.state is ExecutionState.SUCCESS
    assert not connection.in_atomic_block
    assert not Group.objects.exists()


@pytest.mark.parametrize(
    "task", [tasks.begin_by_hand, tasks.change_the_session, tasks.close_the_raw_connection]
)
def test_a_session_that_a_task_has_spoilt_is_replaced(task):
    spoiling, next_one = task.delay(), tasks.make_group.delay("after it")

    assert messages.deliver(spoiling) is Verdict.SETTLED
    assert messages.deliver(next_one) is Verdict.SETTLED
    assert messages.states(spoiling) == messages.states(next_one) == ["success"]
    assert not connection.in_atomic_block


@pytest.mark.parametrize("task", [tasks.leave_an_inner_block_open, tasks.close_a_block_of_somebody_else])
def test_an_atomic_task_that_disturbs_its_transaction_fails_and_disturbs_no_other(task):
    handle, next_one = task.delay(), tasks.make_group.delay("after it")

    assert messages.deliver(handle) is Verdict.SETTLED
    assert messages.deliver(next_one) is Verdict.SETTLED
    assert messages.tries(handle)[0].error_class == "TransactionLeftOpen"
    assert next_one.result(timeout=0) == "after it"


def test_an_atomic_task_that_leaves_a_block_open_leaves_nothing_else():
    messages.deliver(tasks.leave_an_inner_block_open.delay())

    assert not Group.objects.exists()


def test_an_exception_that_cannot_even_be_looked_at_fails_the_try():
    handle = tasks.raise_something_hostile.delay()

    assert messages.deliver(handle) is Verdict.SETTLED
    assert messages.states(handle) == ["failed"]


def test_an_atomic_task_commits_its_writes_with_its_success():
    handle = tasks.make_group.delay("made")
    messages.deliver(handle)

    assert handle.result(timeout=0) == "made"
    assert Group.objects.get().name == "made"


def test_an_atomic_task_that_fails_leaves_nothing_but_its_error():
    handle = tasks.make_group.delay("never", then_fail=True)
    messages.deliver(handle)

    assert messages.states(handle) == ["failed", "pending"]
    assert not Group.objects.exists()


def test_an_atomic_task_whose_lease_was_lost_leaves_nothing():
    handle = tasks.make_group.delay("never")
    held = claim(handle)
    expire_leases()
    (try_id,) = store.expired(10)
    store.rescue([try_id])

    assert Delivery(runtime()).perform(held) is Verdict.NOTHING_TO_DO
    assert not Group.objects.exists()
    assert messages.states(handle) == ["lost", "pending"]


def test_a_finish_after_the_lease_was_lost_changes_nothing():
    handle = tasks.add.delay(1, 2)
    held = claim(handle)
    expire_leases()
    for try_id in store.expired(10):
        store.rescue([try_id])

    settlement = store.settle([Finish(held, outcome.succeeded(3))], patience=1)

    assert not settlement.is_ours
    assert messages.states(handle) == ["lost", "pending"]
    assert not TaskExecutionResult.objects.exists()


def test_a_finish_with_an_older_fence_changes_nothing():
    handle = tasks.add.delay(1, 2)
    held = claim(handle)
    TaskExecutionTry.objects.update(fence=F("fence") + 1)

    assert not store.settle([Finish(held, outcome.succeeded(3))], patience=1).is_ours
    assert messages.states(handle) == ["running"]


def test_settling_twice_with_the_same_end_is_one_end():
    handle = tasks.add.delay(1, 2)
    held = claim(handle)

    assert store.settle([Finish(held, outcome.succeeded(3))], patience=1).is_ours
    assert store.settle([Finish(held, outcome.succeeded(3))], patience=1).is_ours
    assert TaskExecutionResult.objects.count() == 1


def test_a_lease_that_is_alive_is_not_rescued():
    handle = tasks.add.delay(1, 2)
    held = claim(handle)

    assert store.expired(10) == []
    assert not store.rescue([held.try_id]).is_ours
    assert messages.states(handle) == ["running"]


def test_a_lost_try_counts_and_the_last_one_fails_the_call():
    handle = tasks.add.delay(1, 2)
    TaskExecution.objects.update(max_retries=1)
    for _ in range(2):
        claim(handle)
        expire_leases()
        for try_id in store.expired(10):
            assert store.rescue([try_id]).is_ours

    assert messages.states(handle) == ["lost", "lost"]
    with pytest.raises(TaskFailed, match="Lost: the worker stopped renewing its lease"):
        handle.result(timeout=0)


def test_a_message_for_a_silent_workers_try_rescues_it():
    handle = tasks.add.delay(1, 2)
    claim(handle)
    expire_leases()

    assert messages.deliver(handle) is Verdict.NOTHING_TO_DO
    assert messages.states(handle) == ["lost", "pending"]


def test_a_heartbeat_prolongs_what_is_held_and_names_what_is_not():
    kept, lost = claim(tasks.add.delay(1, 2)), claim(tasks.add.delay(3, 4))
    TaskExecutionTry.objects.filter(pk=lost.try_id).update(fence=F("fence") + 1)
    expire_leases()

    assert store.heartbeat([kept, lost], LEASE) == {kept.try_id}
    assert store.expired(10) == [lost.try_id]


def test_a_rescue_that_fails_does_not_cost_what_was_claimed_in_the_same_batch(monkeypatch):
    stuck, fresh = tasks.add.delay(1, 2), tasks.add.delay(3, 4)
    claim(stuck)

    def away(*_args, **_kwargs):
        raise OperationalError("the database went away")

    monkeypatch.setattr("i3tasks_django.delivery.store.expired", away)
    messages_in = [
        messages.received(messages.envelope_of(handle), str(handle.id)) for handle in (stuck, fresh)
    ]
    admission = Delivery(runtime()).admit(messages_in)

    assert [held.execution_id for held in admission.claims] == [fresh.id]
    assert len(admission.consumed) == 2


def test_a_heartbeat_gets_over_a_dropped_connection():
    held = claim(tasks.add.delay(1, 2))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        other = connections.create_connection("default")
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.close()

    assert store.heartbeat([held], LEASE) == {held.try_id}


def test_a_released_try_is_pending_as_it_was_and_not_counted():
    handle = tasks.add.delay(1, 2)
    held = claim(handle)

    store.release([held])

    (attempt,) = messages.tries(handle)
    assert (attempt.state, attempt.try_number, attempt.started_at) == ("pending", 1, None)
    assert (attempt.lease_until, attempt.publish_count) == (None, 0)
    assert messages.deliver(handle) is Verdict.SETTLED


def test_releasing_nothing_releases_nothing():
    handle = tasks.add.delay(1, 2)
    claim(handle)

    store.release([])

    assert messages.states(handle) == ["running"]


def test_a_task_that_nobody_knows_waits_for_a_deploy_and_is_then_given_up(monkeypatch):
    handle = tasks.add.delay(1, 2)
    TaskExecution.objects.update(task_name="comes_with_the_next_release")

    assert messages.deliver(handle) is Verdict.RELEASED
    (attempt,) = messages.tries(handle)
    assert attempt.state == "pending"
    TaskExecutionTry.objects.update(asked_at=Now() - timedelta(minutes=16))
    assert messages.deliver(handle) is Verdict.SETTLED
    assert messages.tries(handle)[0].error_class == "Unregistered"
    assert handle.state is ExecutionState.FAILED


def test_nothing_is_imported_that_a_row_names(tmp_path, monkeypatch):
    (tmp_path / "burglar.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    handle = tasks.add.delay(1, 2)
    TaskExecution.objects.update(task_path="burglar", task_name="run")

    assert messages.deliver(handle) is Verdict.RELEASED


class TestCancelling:
    def test_what_has_not_started_never_will(self):
        handle = tasks.add.delay(1, 2)

        done = handle.cancel()
        assert done
        assert (done.cancelled, done.running) == ((handle.id,), ())
        assert messages.deliver(handle) is Verdict.NOTHING_TO_DO
        assert messages.states(handle) == ["cancelled"]
        with pytest.raises(TaskCancelled):
            handle.result(timeout=0)

    def test_a_running_task_is_told_and_gets_no_further_try(self):
        handle = tasks.fail.delay()
        held = claim(handle)

        done = handle.cancel()
        assert not done
        assert (done.cancelled, done.running) == ((), (handle.id,))
        assert Delivery(runtime()).perform(held) is Verdict.SETTLED
        assert messages.states(handle) == ["failed"]
        assert handle.state is ExecutionState.CANCELLED

    def test_a_claimed_call_that_is_handed_back_unstarted_is_cancelled(self):
        handle = tasks.add.delay(1, 2)
        held = claim(handle)
        handle.cancel()

        store.release([held])

        assert messages.states(handle) == ["cancelled"]
        assert handle.refresh().state is ExecutionState.CANCELLED

    def test_a_running_task_sees_it(self):
        handle = tasks.who_am_i.delay()
        held = claim(handle)
        handle.cancel()
        Delivery(runtime()).perform(held)

        assert handle.result(timeout=0)["is_cancelled"] is True

    def test_a_lost_try_of_a_cancelled_call_has_no_successor(self):
        handle = tasks.add.delay(1, 2)
        claim(handle)
        handle.cancel()
        expire_leases()
        for try_id in store.expired(10):
            store.rescue([try_id])

        assert messages.states(handle) == ["lost"]
        assert handle.state is ExecutionState.CANCELLED

    def test_a_call_that_waits_for_its_next_try_is_cancelled(self):
        handle = tasks.fail.delay()
        messages.deliver(handle)

        assert handle.cancel().cancelled == (handle.id,)
        assert messages.states(handle) == ["failed", "cancelled"]

    def test_what_has_ended_stays_as_it_is(self):
        handle = tasks.add.delay(1, 2)
        messages.deliver(handle)

        assert not handle.cancel()
        assert handle.state is ExecutionState.SUCCESS


class TestReopening:
    def test_a_failed_call_gets_one_more_try(self):
        handle = tasks.fail_for_good.delay()
        messages.deliver(handle)

        assert store.reopen(handle.id) is not None
        assert messages.states(handle) == ["failed", "pending"]
        assert handle.refresh().state is ExecutionState.PENDING
        assert messages.deliver(handle) is Verdict.SETTLED
        assert messages.states(handle) == ["failed", "failed"]

    def test_a_call_that_succeeded_or_goes_on_is_left_alone(self):
        done, waiting = tasks.add.delay(1, 2), tasks.add.delay(1, 2)
        messages.deliver(done)

        assert store.reopen(done.id) is None
        assert store.reopen(waiting.id) is None
