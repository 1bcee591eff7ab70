"""Chains: each step runs once, after the one before it has succeeded, however late it was added."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import transaction

import messages
from i3tasks_core.states import ExecutionState
from i3tasks_django import Task, UnknownQueue, chain, group
from i3tasks_django.models import TaskExecution, TaskGroup
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


def test_steps_run_one_after_the_other():
    handle = tasks.add.delay(1, 2).then(tasks.log_sent, "first").then(tasks.log_sent, text="second")

    assert messages.called() == ["add pending"]
    messages.deliver_all()

    assert messages.called() == ["add success 3", "log_sent success 'first'", "log_sent success 'second'"]
    assert handle.refused == ()


def test_a_step_added_after_the_end_runs_after_all_others():
    handle = tasks.add.delay(1, 2)
    messages.deliver_all()
    handle.then(tasks.log_sent, "first").then(tasks.log_sent, "second")
    messages.deliver_all()
    handle.then(tasks.log_sent, "third")
    messages.deliver_all()

    assert messages.called()[1:] == [f"log_sent success {text!r}" for text in ("first", "second", "third")]
    chained = TaskExecution.objects.exclude(chained_from=None).order_by("pk")
    before = [handle.id, *chained.values_list("pk", flat=True)]
    assert list(chained.values_list("chained_from", flat=True)) == before[:-1]


def test_a_failed_step_ends_the_chain():
    handle = tasks.add.delay(1, 2).then(tasks.break_down).then(tasks.log_sent)
    messages.deliver_all()

    assert messages.called() == ["add success 3", "break_down failed"]
    handle.then(tasks.log_sent)
    assert handle.refused == ("project.tasks.log_sent",)
    assert messages.called() == ["add success 3", "break_down failed"]


def test_a_step_waits_while_the_one_before_it_is_tried_again(tmp_path):
    tasks.succeed_at_last.delay(str(tmp_path / "tries")).then(tasks.log_sent)
    messages.deliver_all()

    assert messages.called() == ["succeed_at_last success 2", "log_sent success 'sent'"]


def test_on_success_runs_ahead_of_what_then_adds():
    tasks.send.delay("hello").then(tasks.add, 1, 2)
    messages.deliver_all()

    assert messages.called() == ["send success 'hello'", "log_sent success 'sent'", "add success 3"]


def test_on_success_is_part_of_the_same_enqueue():
    with transaction.atomic():
        tasks.send.delay("hello")
        transaction.set_rollback(True)
    assert messages.called() == []


def test_on_failure_runs_once_and_on_success_never_when_the_task_fails():
    tasks.send_or_report.delay(fails=True).then(tasks.add, 1, 2)
    messages.deliver_all()

    assert messages.called() == ["send_or_report failed", "report_failure success 'reported'"]


def test_on_failure_is_passed_by_when_the_task_succeeds():
    tasks.send_or_report.delay().then(tasks.break_down).then(tasks.add, 1, 2)
    messages.deliver_all()

    assert messages.called() == [
        "send_or_report success 'sent'",
        "log_sent success 'sent'",
        "break_down failed",
    ]


def test_a_chain_is_a_value_that_is_dispatched_as_often_as_one_likes():
    steps = chain(tasks.add.s(1, 2), tasks.log_sent)
    longer = steps.then(tasks.log_sent, "more")

    assert messages.called() == []
    steps.delay()
    longer.delay()
    messages.deliver_all()
    assert sorted(messages.called()) == sorted(
        ["add success 3", "add success 3", *["log_sent success 'sent'"] * 2, "log_sent success 'more'"]
    )


def test_build_chain_dispatches_nothing_by_itself():
    built = tasks.add.build_chain(1, 2).then(tasks.log_sent)
    assert messages.called() == []

    built.delay()
    messages.deliver_all()
    assert messages.called() == ["add success 3", "log_sent success 'sent'"]


def test_an_inner_chains_on_failure_hears_of_its_own_steps_only():
    inner = chain(tasks.add.s(1, 2), tasks.break_down, on_failure=tasks.log_sent.s("inner"))
    chain(tasks.log_sent, inner, tasks.add.s(3, 4), on_failure=tasks.log_sent.s("outer")).delay()
    messages.deliver_all()

    assert messages.called() == [
        "log_sent success 'sent'",
        "add success 3",
        "break_down failed",
        "log_sent success 'inner'",
        "log_sent success 'outer'",
    ]


def test_an_inner_chain_that_was_never_reached_hears_nothing():
    inner = chain(tasks.add.s(1, 2), on_failure=tasks.log_sent.s("inner"))
    chain(tasks.break_down, inner, on_failure=tasks.log_sent.s("outer")).delay()
    messages.deliver_all()

    assert messages.called() == ["break_down failed", "log_sent success 'outer'"]


def test_a_step_reads_the_result_of_the_one_before_it_on_request():
    handle = tasks.add.delay(1, 2).then(tasks.look_around)
    messages.deliver_all()

    (seen,) = [row for row in TaskExecution.objects.all() if row.task_name == "look_around"]
    result = seen.tries.get().result.result
    assert result["parent"] == str(handle.id)
    assert result["previous"] == ["project.tasks.add", "success", 3, "", ""]
    assert result["group"] is None


def test_an_on_failure_step_reads_the_error():
    chain(tasks.break_down.s("why"), on_failure=tasks.look_around).delay()
    messages.deliver_all()

    seen = TaskExecution.objects.get(task_name="look_around")
    assert seen.tries.get().result.result["previous"] == [
        "project.tasks.break_down",
        "failed",
        None,
        "ValueError",
        "why",
    ]


def test_a_task_alone_has_no_relations():
    handle = tasks.look_around.delay()
    messages.deliver_all()

    assert handle.result(timeout=0) == {"parent": "None", "previous": None, "group": None, "failures": None}


def test_a_steps_own_options_hold_where_it_runs():
    tasks.nothing.delay().then(tasks.add_heavy, 1, 2).then(
        tasks.add.using(run_after=60, queue_name="heavy").s(3, 4)
    )
    messages.deliver_all()

    rows = TaskExecution.objects.order_by("pk")
    assert [row.queue_name for row in rows] == ["default", "heavy", "heavy"]
    assert [row.max_retries for row in rows] == [3, 3, 3]


def test_a_delayed_step_waits_from_its_turn_on():
    handle = tasks.nothing.delay().then(tasks.log_sent.using(run_after=60).s())
    messages.deliver(handle)

    step = TaskExecution.objects.get(task_name="log_sent").tries.get()
    assert step.run_after == step.next_publish_at
    assert abs((step.run_after - step.asked_at).total_seconds() - 60) < 1


@pytest.mark.parametrize("wrong", [5, "log_sent", None, tasks.log_sent.definition])
def test_what_cannot_be_a_step_is_refused_where_it_is_written(wrong):
    handle = tasks.nothing.delay()
    for refused in (lambda: handle.then(wrong), lambda: chain(tasks.nothing, wrong)):
        with pytest.raises(
            TypeError, match=r"cannot be a step: write a task, task\.s\(…\), chain\(…\) or group\(…\)"
        ):
            refused()


def test_arguments_of_a_step_are_checked_where_it_is_written():
    handle = tasks.nothing.delay()
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        handle.then(tasks.add, 1)
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        chain(tasks.nothing, tasks.add)
    with pytest.raises(TypeError, match="has its arguments already"):
        handle.then(tasks.add.s(1, 2), 3)
    with pytest.raises(ValueError, match="write at least one step"):
        chain()


def test_a_step_on_an_unknown_queue_is_refused_before_anything_is_written():
    with pytest.raises(UnknownQueue, match="'nowhere'"):
        chain(tasks.nothing, tasks.add.using(queue_name="nowhere").s(1, 2)).delay()
    assert messages.called() == []


def test_then_on_a_call_that_was_rolled_back_says_so_and_spoils_nothing():
    with transaction.atomic():
        handle = tasks.nothing.delay()
        transaction.set_rollback(True)

    with transaction.atomic():
        with pytest.raises(TaskExecution.DoesNotExist, match="rolled back, or cleaned up"):
            handle.then(tasks.nothing)
        tasks.log_sent.delay()
    assert messages.called() == ["log_sent pending"]


class TestHereAndNow:
    def test_a_direct_call_calls_what_follows_it(self):
        assert tasks.send("hello") == "hello"

        assert messages.called() == ["send success 'hello'", "log_sent pending"]
        messages.deliver_all()
        assert messages.called()[1] == "log_sent success 'sent'"

    def test_a_direct_call_that_fails_calls_its_on_failure(self):
        with pytest.raises(ValueError, match="not sent"):
            tasks.send_or_report(fails=True)

        assert messages.called() == ["send_or_report failed", "report_failure pending"]

    def test_force_sync_runs_the_whole_chain(self, i3tasks):
        i3tasks(force_sync=True)

        handle = tasks.send.delay("hello").then(tasks.add, 1, 2)

        assert messages.called() == ["send success 'hello'", "log_sent success 'sent'", "add success 3"]
        assert handle.result(timeout=0) == "hello"

    def test_force_sync_waits_for_nothing_and_tries_once(self, i3tasks):
        i3tasks(force_sync=True)

        with pytest.raises(ValueError, match="no luck"):
            chain(tasks.nothing.using(run_after=60), tasks.fail).delay()
        assert messages.called() == ["nothing success", "fail failed"]

    def test_force_sync_shows_the_error_after_what_hears_of_it(self, i3tasks):
        i3tasks(force_sync=True)

        with pytest.raises(ValueError, match="not sent"):
            tasks.send_or_report.delay(fails=True)
        assert messages.called() == ["send_or_report failed", "report_failure success 'reported'"]

    def test_force_sync_inside_a_transaction(self, i3tasks):
        i3tasks(force_sync=True)

        with transaction.atomic():
            handle = tasks.make_group.delay("made").then(tasks.log_sent)
        assert messages.called() == ["make_group success 'made'", "log_sent success 'sent'"]
        assert handle.state is ExecutionState.SUCCESS


class TestCancelling:
    def test_nothing_of_a_chain_that_has_not_started_runs(self):
        handle = tasks.add.delay(1, 2).then(tasks.log_sent)

        assert handle.cancel()
        assert messages.deliver_all() == 0
        assert messages.called() == ["add cancelled"]
        assert handle.then(tasks.log_sent).refused == ("project.tasks.log_sent",)

    def test_the_step_whose_turn_it_is_is_cancelled(self):
        handle = chain(tasks.nothing, tasks.add.s(1, 2), tasks.log_sent).delay()
        messages.deliver(handle)

        done = handle.cancel()

        assert len(done.cancelled) == 1
        assert messages.deliver_all() == 0
        assert messages.called() == ["nothing success", "add cancelled"]

    def test_a_running_step_is_named_and_nothing_follows_it(self):
        handle = chain(tasks.add.s(1, 2), tasks.log_sent).delay()
        (held,) = messages.claim(handle)

        done = handle.cancel()
        messages.perform(held)

        assert (done.cancelled, done.running) == ((), (handle.id,))
        assert not done
        assert messages.called() == ["add success 3"]
        assert handle.then(tasks.log_sent).refused == ("project.tasks.log_sent",)

    def test_on_failure_does_not_hear_of_a_cancel(self):
        handle = chain(tasks.add.s(1, 2), on_failure=tasks.log_sent).delay()
        handle.cancel()

        assert messages.deliver_all() == 0


class TestRunningAgain:
    def test_a_failed_step_that_is_run_again_goes_on_and_is_not_heard_twice(self, tmp_path):
        path = tmp_path / "there"
        handle = chain(tasks.read.s(str(path)), tasks.log_sent, on_failure=tasks.report_failure).delay()
        messages.deliver_all()
        assert messages.called() == ["read failed", "report_failure success 'reported'"]

        messages.reopen(handle)
        messages.deliver_all()
        assert messages.called() == ["read failed", "report_failure success 'reported'"]

        path.write_text("now")
        messages.reopen(handle)
        messages.deliver_all()
        assert messages.called() == [
            "read success 'now'",
            "report_failure success 'reported'",
            "log_sent success 'sent'",
        ]


def test_a_chain_of_very_many_steps_and_empty_groups_does_not_run_out_of_stack():
    handle = chain(tasks.nothing, *[group()] * 400, tasks.log_sent).delay()
    messages.deliver_all()
    assert messages.called() == ["nothing success", "log_sent success 'sent'"]
    assert TaskGroup.objects.filter(status="success").count() == 400

    handle.then(tasks.log_sent, "at the very end")
    messages.deliver_all()
    assert messages.called()[-1] == "log_sent success 'at the very end'"


def test_a_function_of_the_started_script_can_be_run_here_but_not_called_for_others(monkeypatch):
    here = Task(tasks.add._func, replace(tasks.add.definition, path="__main__"))

    assert here(1, 2) == 3
    for call in (here.delay, lambda *args: chain(tasks.nothing, here.s(*args)).delay()):
        with pytest.raises(RuntimeError, match="stands in __main__"):
            call(1, 2)
