"""Groups: what waits for all members runs once, after the last of them, and only if all succeeded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import IsolationLevel

import databases
import messages
from concurrency import at_once
from i3tasks_core import outcome
from i3tasks_core.envelope import Envelope
from i3tasks_core.finish import Finish
from i3tasks_core.states import TryState
from i3tasks_django import ChainHandle, GroupError, ResultTimeout, UnknownQueue, chain, group, store
from i3tasks_django.delivery import Delivery
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from i3tasks_django.runtime import runtime
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


def counts(of):
    of.refresh_from_db()
    return (of.status, of.completed_count, of.failed_count, of.member_count, of.total_count)


def seen_by_look_around():
    return TaskExecution.objects.get(task_name="look_around").tries.get().result.result


def test_the_callback_runs_once_after_all_members():
    made = TaskGroup.create(callback=tasks.log_sent, total_count=3)
    for number in range(3):
        assert messages.called() == ["add pending"] * number
        tasks.add.delay(number, 0, __i3group__=made)
    assert (made.STATUS_PENDING, made.STATUS_SUCCESS, made.STATUS_FAILED) == ("pending", "success", "failed")

    messages.deliver_all()

    assert messages.called() == [
        "add success 0",
        "add success 1",
        "add success 2",
        "log_sent success 'sent'",
    ]
    assert counts(made) == ("success", 3, 0, 3, 3)
    assert made.finished_at is not None
    assert made.results() == [0, 1, 2]


def test_a_member_that_exceeds_its_retries_makes_the_group_failed_and_the_callback_never_runs():
    made = TaskGroup.create(callback=tasks.log_sent, total_count=2)
    failing = tasks.break_down.delay("why", __i3group__=made)
    tasks.add.delay(1, 2, __i3group__=made)
    messages.deliver(failing)
    assert counts(made) == ("failed", 0, 1, 2, 2)
    assert made.finished_at is None

    messages.deliver_all()

    assert counts(made) == ("failed", 1, 1, 2, 2)
    assert made.finished_at is not None
    assert messages.called() == ["break_down failed", "add success 3"]


def test_a_group_of_nothing_fires_at_once():
    made = TaskGroup.create(callback=tasks.log_sent, total_count=0)

    assert (made.status, made.finished_at is None) == ("success", False)
    messages.deliver_all()
    assert messages.called() == ["log_sent success 'sent'"]


def test_a_callback_may_be_a_built_chain():
    made = TaskGroup.create(callback=tasks.log_sent.build_chain("one").then(tasks.add, 1, 2), total_count=1)
    tasks.nothing.delay(__i3group__=made)
    messages.deliver_all()

    assert messages.called() == ["nothing success", "log_sent success 'one'", "add success 3"]


def test_a_group_that_is_rolled_back_leaves_nothing():
    with transaction.atomic():
        made = TaskGroup.create(callback=tasks.log_sent, total_count=1)
        tasks.nothing.delay(__i3group__=made)
        transaction.set_rollback(True)

    assert not TaskGroup.objects.exists()
    assert messages.called() == []


def test_dispatch_creates_group_and_members_at_once_and_tells_who_failed():
    made = TaskGroup.dispatch(
        (
            task.s(text)
            for task, text in [(tasks.log_sent, "a"), (tasks.break_down, "b"), (tasks.log_sent, "c")]
        ),
        callback=tasks.nothing,
        on_failure=tasks.look_around,
    )
    assert len(messages.called()) == 3
    messages.deliver_all()

    assert counts(made) == ("failed", 2, 1, 3, 3)
    assert messages.called()[:3] == ["log_sent success 'a'", "break_down failed", "log_sent success 'c'"]
    assert len(messages.called()) == 4
    assert seen_by_look_around() == {
        "parent": "None",
        "previous": None,
        "group": [str(made.pk), "failed", ["a", None, "c"]],
        "failures": [["project.tasks.break_down", ["b"], {}, "failed", "b"]],
    }


def test_results_reach_the_callback_in_the_members_order():
    steps = chain(group(tasks.add.s(number, 0) for number in range(5)), tasks.look_around)
    made = steps.delay()
    for attempt in reversed(TaskExecutionTry.objects.order_by("pk")):
        messages.deliver(ChainHandle(attempt.task_execution_id))
    messages.deliver_all()

    assert seen_by_look_around()["group"] == [str(made.pk), "success", [0, 1, 2, 3, 4]]


def test_a_member_that_is_a_chain_counts_when_its_last_step_has_ended():
    made = (
        group(chain(tasks.add.s(1, 2), tasks.log_sent.s("end")), tasks.nothing)
        .then(tasks.look_around)
        .delay()
    )
    messages.deliver_all()

    assert messages.called() == [
        "add success 3",
        "nothing success",
        "log_sent success 'end'",
        messages.called()[3],
    ]
    assert counts(made) == ("success", 2, 0, 2, 2)
    assert made.results() == ["end", None]


def test_a_member_that_is_a_chain_fails_with_any_of_its_steps():
    made = TaskGroup.dispatch([chain(tasks.break_down, tasks.log_sent)], callback=tasks.nothing)
    messages.deliver_all()

    assert counts(made) == ("failed", 0, 1, 1, 1)
    assert messages.called() == ["break_down failed"]


def test_groups_within_groups_and_in_chains():
    inner = group(tasks.add.s(1, 1), tasks.add.s(2, 2))
    steps = chain(
        tasks.nothing, group(inner, chain(tasks.nothing, inner), tasks.add.s(0, 0)), tasks.look_around
    )
    handle = steps.delay()
    messages.deliver_all()

    assert isinstance(handle, ChainHandle)
    assert seen_by_look_around()["group"][2] == [[2, 4], [2, 4], 0]
    assert {one.status for one in TaskGroup.objects.all()} == {"success"}
    assert TaskGroup.objects.count() == 3


def test_a_failure_deep_inside_is_heard_once_at_every_level():
    inner = group(tasks.break_down.s("deep"), tasks.add.s(1, 1), on_failure=tasks.log_sent.s("inner"))
    outer = group(chain(inner, tasks.nothing), tasks.add.s(2, 2), on_failure=tasks.log_sent.s("outer"))
    chain(outer, tasks.nothing, on_failure=tasks.look_around).delay()
    messages.deliver_all()

    ended = messages.called()
    assert ended.count("log_sent success 'inner'") == ended.count("log_sent success 'outer'") == 1
    assert not any(text.startswith("nothing") for text in ended)
    assert {one.status for one in TaskGroup.objects.all()} == {"failed"}
    assert seen_by_look_around()["failures"] == [["project.tasks.break_down", ["deep"], {}, "failed", "deep"]]


def test_empty_groups_are_passed_at_once():
    chain(group(), tasks.add.s(1, 2), group(group(), group([])), tasks.look_around).delay()
    messages.deliver_all()

    assert seen_by_look_around()["group"][2] == [[], []]


def test_what_a_member_calls_afterwards_is_not_waited_for():
    made = TaskGroup.create(callback=tasks.nothing, total_count=2)
    tasks.send.delay("a", __i3group__=made).then(tasks.break_down)
    tasks.add.delay(1, 2, __i3group__=made)
    messages.deliver_all()

    assert counts(made) == ("success", 2, 0, 2, 2)
    assert sorted(messages.called()) == sorted(
        [
            "send success 'a'",
            "add success 3",
            "log_sent success 'sent'",
            "nothing success",
            "break_down failed",
        ]
    )


def test_a_step_added_to_a_group_runs_after_what_follows_it():
    made = TaskGroup.create(callback=tasks.nothing, total_count=1)
    assert made.then(tasks.log_sent, "first") is made
    tasks.add.delay(1, 2, __i3group__=made)
    messages.deliver_all()
    made.then(tasks.log_sent, "second")
    messages.deliver_all()

    assert messages.called()[1:] == [
        "nothing success",
        "log_sent success 'first'",
        "log_sent success 'second'",
    ]
    assert made.refused == ()


def test_a_step_added_to_a_failed_group_is_refused():
    made = TaskGroup.dispatch([tasks.break_down])
    messages.deliver_all()

    assert made.then(tasks.log_sent).refused == ("project.tasks.log_sent",)


class TestRefusals:
    def test_a_member_beyond_the_total_is_an_error_at_the_call_and_spoils_nothing(self):
        made = TaskGroup.create(callback=tasks.nothing, total_count=1)
        with transaction.atomic():
            tasks.add.delay(1, 2, __i3group__=made)
            with pytest.raises(GroupError, match=r"total_count=1 members and has 1; it cannot take one more"):
                tasks.add.delay(3, 4, __i3group__=made)
            tasks.add.delay(5, 6)

        assert counts(made) == ("pending", 0, 0, 1, 1)
        messages.deliver_all()
        assert messages.called() == ["add success 3", "add success 11", "nothing success"]

    def test_a_group_that_was_rolled_back_takes_no_members(self):
        with transaction.atomic():
            made = TaskGroup.create(callback=tasks.nothing, total_count=1)
            transaction.set_rollback(True)

        with pytest.raises(GroupError, match="there is no such group"):
            tasks.add.delay(1, 2, __i3group__=made)

    @pytest.mark.parametrize("wrong", [None, -1, True, "3", 1.0, 10**9])
    def test_a_wrong_total_names_the_value(self, wrong):
        with pytest.raises(ValueError, match=r"total_count=.* write how many members the group will have"):
            TaskGroup.create(callback=tasks.nothing, total_count=wrong)

    @pytest.mark.parametrize("wrong", ["group", 7, {}])
    def test_what_is_no_group_is_named(self, wrong):
        with pytest.raises(TypeError, match=r"__i3group__=.*: pass the TaskGroup"):
            tasks.add.delay(1, 2, __i3group__=wrong)

    @pytest.mark.parametrize("wrong", [3, "text", [tasks.nothing, 5], {"a": 1}])
    def test_what_cannot_be_members_is_named(self, wrong):
        with pytest.raises(TypeError, match=r"cannot be (a step|the members of a group)"):
            TaskGroup.dispatch(wrong)

    def test_an_unknown_queue_of_one_member_writes_nothing(self):
        with pytest.raises(UnknownQueue):
            group(tasks.nothing, tasks.nothing.using(queue_name="nowhere")).delay()
        assert messages.called() == []
        assert not TaskGroup.objects.exists()

    def test_too_deep_a_nest_is_refused_where_it_is_written(self):
        nest = group(tasks.nothing)
        with pytest.raises(ValueError, match="more than 50 levels deep"):
            for _ in range(60):
                nest = chain(group(nest))
        assert messages.called() == []


class TestHereAndNow:
    def test_a_direct_call_is_a_member_too(self):
        made = TaskGroup.create(callback=tasks.log_sent, total_count=2)
        assert tasks.add(1, 2, __i3group__=made) == 3
        assert tasks.add.sync_run(3, 4, __i3group__=made) == 7

        assert counts(made) == ("success", 2, 0, 2, 2)
        assert messages.called()[-1] == "log_sent pending"

    def test_a_direct_call_beyond_the_total_is_not_run(self):
        made = TaskGroup.create(callback=tasks.log_sent, total_count=0)
        with pytest.raises(GroupError):
            tasks.make_group("never", __i3group__=made)
        assert messages.called() == ["log_sent pending"]

    def test_force_sync_runs_the_whole_group(self, i3tasks):
        i3tasks(force_sync=True)

        made = TaskGroup.dispatch([tasks.add.s(1, 2), tasks.add.s(3, 4)], callback=tasks.look_around)

        assert (made.status, made.completed_count, made.results()) == ("success", 2, [3, 7])
        assert seen_by_look_around()["group"] == [str(made.pk), "success", [3, 7]]

    def test_force_sync_runs_members_that_are_called_one_by_one(self, i3tasks):
        i3tasks(force_sync=True)

        made = TaskGroup.create(callback=tasks.log_sent, total_count=2)
        tasks.add.delay(1, 2, __i3group__=made)
        tasks.add.delay(1, 2, __i3group__=made)
        assert messages.called()[-1] == "log_sent success 'sent'"

    def test_force_sync_runs_all_members_before_the_error_is_shown(self, i3tasks):
        i3tasks(force_sync=True)

        with pytest.raises(ValueError, match="broken"):
            TaskGroup.dispatch([tasks.break_down, tasks.add.s(1, 2)], on_failure=tasks.log_sent)
        assert messages.called() == ["break_down failed", "add success 3", "log_sent success 'sent'"]


class TestCancelling:
    def test_what_has_not_started_never_will_and_the_callback_neither(self):
        made = TaskGroup.dispatch(
            [tasks.add.s(n, 0) for n in range(3)], callback=tasks.log_sent, on_failure=tasks.nothing
        )
        done = made.cancel()

        assert len(done.cancelled) == 3
        assert done
        assert messages.deliver_all() == 0
        assert counts(made) == ("cancelled", 0, 3, 3, 3)
        assert made.finished_at is not None

    def test_what_runs_is_named_and_nothing_follows_it(self):
        made = TaskGroup.dispatch([tasks.add.s(n, 0) for n in range(3)], callback=tasks.log_sent)
        first, second, third = (
            ChainHandle(pk) for pk in TaskExecution.objects.order_by("pk").values_list("pk", flat=True)
        )
        messages.deliver(first)
        (held,) = messages.claim(second)

        done = made.cancel()
        messages.perform(held)

        assert (done.cancelled, done.running) == ((third.id,), (second.id,))
        assert not done
        assert counts(made) == ("cancelled", 2, 1, 3, 3)
        assert messages.deliver_all() == 0

    def test_a_cancelled_group_takes_no_members_and_does_not_wait_for_them(self):
        made = TaskGroup.create(callback=tasks.log_sent, total_count=3)
        tasks.add.delay(1, 2, __i3group__=made)
        made.cancel()

        assert counts(made) == ("cancelled", 0, 3, 1, 3)
        with pytest.raises(GroupError, match="was cancelled and takes no further members"):
            tasks.add.delay(1, 2, __i3group__=made)

    def test_everything_within_a_group_is_cancelled_and_who_waits_for_it_hears(self):
        inner = chain(
            tasks.nothing, group(tasks.add.s(1, 1), chain(tasks.nothing, tasks.nothing)), tasks.nothing
        )
        outer = TaskGroup.dispatch([inner, tasks.add.s(5, 5)], callback=tasks.log_sent)
        messages.deliver(ChainHandle(TaskExecution.objects.order_by("pk")[0].pk))
        within = TaskGroup.objects.exclude(pk=outer.pk).get()

        within.cancel()
        messages.deliver_all()

        assert counts(within) == ("cancelled", 0, 2, 2, 2)
        assert counts(outer) == ("failed", 1, 1, 2, 2)
        assert sorted(messages.called()) == [
            "add cancelled",
            "add success 10",
            "nothing cancelled",
            "nothing success",
        ]

    def test_a_chain_is_cancelled_through_the_group_it_has_come_to(self):
        handle = chain(tasks.nothing, group(tasks.add.s(1, 1), tasks.add.s(2, 2)), tasks.log_sent).delay()
        messages.deliver(handle)

        done = handle.cancel()

        assert len(done.cancelled) == 2
        assert messages.deliver_all() == 0
        assert TaskGroup.objects.get().status == "cancelled"

    def test_one_cancelled_member_is_a_failure_of_the_group(self):
        made = TaskGroup.dispatch([tasks.add.s(1, 1), tasks.add.s(2, 2)], on_failure=tasks.look_around)
        ChainHandle(TaskExecution.objects.order_by("pk")[0].pk).cancel()
        messages.deliver_all()

        assert counts(made) == ("failed", 1, 1, 2, 2)
        assert seen_by_look_around()["failures"] == [["project.tasks.add", [1, 1], {}, "cancelled", ""]]

    def test_a_finished_group_stays_as_it_is_but_what_follows_it_is_cancelled(self):
        made = TaskGroup.dispatch([tasks.nothing], callback=tasks.log_sent)
        messages.deliver(ChainHandle(TaskExecution.objects.get().pk))

        assert len(made.cancel().cancelled) == 1
        assert counts(made) == ("success", 1, 0, 1, 1)
        assert messages.called() == ["nothing success", "log_sent cancelled"]


def test_a_lost_member_counts_when_its_last_try_is_lost():
    made = TaskGroup.dispatch([tasks.break_down], on_failure=tasks.log_sent)
    handle = ChainHandle(TaskExecution.objects.get().pk)
    (held,) = messages.claim(handle)
    TaskExecutionTry.objects.update(lease_until="2000-01-01T00:00:00Z")

    settlement = store.rescue([held.try_id])

    assert settlement.is_ours
    assert len(settlement.doorbells) == 1
    assert counts(made) == ("failed", 0, 1, 1, 1)
    assert messages.perform(held) is not None
    assert counts(made) == ("failed", 0, 1, 1, 1)
    assert TaskExecutionTry.objects.filter(state=TryState.LOST).count() == 1


def test_waiting_for_a_group():
    made = TaskGroup.dispatch([tasks.nothing], callback=tasks.log_sent)
    with pytest.raises(ResultTimeout, match="has not ended within 0 s"):
        made.wait(timeout=0)
    messages.deliver_all()

    assert made.wait(timeout=5).completed_count == 1


def test_a_member_settled_in_the_body_of_an_atomic_task_counts_with_it():
    made = TaskGroup.dispatch([tasks.make_group.s("a"), tasks.make_group.s("b")], callback=tasks.log_sent)
    messages.deliver_all()

    assert counts(made) == ("success", 2, 0, 2, 2)
    assert messages.called()[-1] == "log_sent success 'sent'"


class TestWhatWasBrokenOnce:
    def test_two_cancels_at_once_count_missing_members_once(self):
        for _ in range(10):
            made = TaskGroup.create(callback=tasks.log_sent, total_count=3)
            at_once(*[lambda made=made: TaskGroup.objects.get(pk=made.pk).cancel()] * 2)
            assert counts(made) == ("cancelled", 0, 3, 0, 3)

    def test_a_cancel_takes_what_a_members_end_has_called(self):
        made = group(tasks.send, tasks.nothing).delay()
        messages.deliver(ChainHandle(TaskExecution.objects.get(task_name="send").pk))

        assert len(made.cancel().cancelled) == 2
        assert messages.deliver_all() == 0

    def test_an_on_failure_step_hears_the_same_of_a_group_and_of_a_task(self):
        for step in (tasks.break_down.s("why"), group(tasks.break_down.s("why"))):
            chain(tasks.nothing, step, on_failure=tasks.hear).delay()
        messages.deliver_all()

        heard = [row for row in messages.called() if row.startswith("hear")]
        assert heard == ["hear success [['project.tasks.break_down', 'why']]"] * 2

    def test_members_of_a_group_read_what_came_before_it(self):
        chain(
            tasks.add.s(20, 21), group(group(tasks.look_around), chain(tasks.nothing, tasks.nothing))
        ).delay()
        messages.deliver_all()

        assert seen_by_look_around()["previous"] == ["project.tasks.add", "success", 41, "", ""]

    def test_what_is_dispatched_is_what_was_written(self):
        argument = [1]
        signature = tasks.nest.s(argument)
        argument.append({2})
        signature.delay()

        assert TaskExecution.objects.get().task_args == [[1]]

    def test_a_group_cannot_be_an_argument_of_a_signature(self):
        with pytest.raises(TypeError, match=r"pass it to \.delay\(\)"):
            tasks.add.s(1, 2, __i3group__=None)

    def test_the_first_error_is_shown_also_when_it_broke_the_callers_transaction(self, i3tasks):
        i3tasks(force_sync=True)
        with pytest.raises(Exception, match=r"division by zero|no such table"), transaction.atomic():
            group(tasks.divide_in_the_database, tasks.nothing).delay()

    def test_a_group_of_empty_groups_is_given_back_as_it_is(self):
        assert group(group(), group()).delay().status == "success"

    @pytest.mark.parametrize("wrong", [float("nan"), "5", [1]])
    def test_a_timeout_that_is_no_number_is_refused(self, wrong):
        with pytest.raises(ValueError, match="write a timedelta, seconds, or None"):
            TaskGroup.create(total_count=1).wait(timeout=wrong)

    def test_a_handle_is_made_again_from_the_text_of_its_id(self):
        handle = tasks.add.delay(1, 2)
        assert ChainHandle(str(handle.id)).state == "pending"


def test_atomic_members_under_repeatable_read_cost_no_tries(database):
    if database.vendor != "postgresql":
        pytest.skip("SQLite has one isolation level")
    level = {"isolation_level": IsolationLevel.REPEATABLE_READ}
    with databases.current(replace(database, settings={**database.settings, "OPTIONS": level})):
        made = TaskGroup.dispatch([tasks.look_and_wait.s(n) for n in range(6)])
        handles = [ChainHandle(pk) for pk in TaskExecution.objects.values_list("pk", flat=True)]
        at_once(*[lambda handle=handle: messages.deliver(handle) for handle in handles])
        assert counts(made) == ("success", 6, 0, 6, 6)
        assert TaskExecutionTry.objects.count() == 6


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_step_inside_a_group_that_somebody_has_locked_waits_for_its_turn(database):
    """Its successor refers to the group, which PostgreSQL sees to in the commit only."""
    chain(group(chain(tasks.nothing, tasks.nothing), tasks.nothing), tasks.nothing).delay()
    step = TaskExecutionTry.objects.get(task_execution__chain__0__has_key="call")
    bell = Envelope(try_id=step.pk, execution_id=step.task_execution_id, queue_name="default")
    finishes = [
        Finish(claim, outcome.succeeded(1))
        for claim in store.claim([bell], lease=timedelta(seconds=60), worker="w")
    ]
    other = connection.copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("SELECT 1 FROM i3tasks_django_taskgroup FOR UPDATE")

    assert Delivery(runtime()).settle(finishes) == finishes
    other.rollback()
    other.close()
    assert Delivery(runtime()).settle(finishes) == []
    assert TaskExecutionTry.objects.get(pk=step.pk).state == "success"
