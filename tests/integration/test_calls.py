"""A call becomes rows in the caller's transaction, and its end is recorded."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

import messages
from i3tasks_core.states import ExecutionState
from i3tasks_django import ArgumentError, TaskFailed, UnknownQueue
from i3tasks_django.delivery import Verdict
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


def test_a_call_becomes_an_execution_and_its_first_try():
    handle = tasks.add.delay(1, b=2)

    execution = TaskExecution.objects.get()
    assert execution.pk == handle.id
    assert (execution.task_path, execution.task_name) == ("project.tasks", "add")
    assert (execution.task_args, execution.task_kwargs) == ([1], {"b": 2})
    assert (execution.state, execution.queue_name, execution.max_retries) == ("pending", "default", 3)
    attempt = execution.tries.get()
    assert (attempt.try_number, attempt.state, attempt.fence) == (1, "pending", 0)


def test_a_delivered_call_runs_once_and_its_result_is_kept():
    handle = tasks.add.delay(1, 2)

    assert messages.deliver(handle) is Verdict.SETTLED
    assert messages.deliver(handle) is Verdict.NOTHING_TO_DO
    assert handle.result(timeout=0) == 3
    assert handle.refresh().state is ExecutionState.SUCCESS
    assert messages.states(handle) == ["success"]


def test_a_rolled_back_call_leaves_nothing():
    class Rollback(Exception):
        pass

    with pytest.raises(Rollback), transaction.atomic():
        tasks.add.delay(1, 2)
        raise Rollback

    assert not TaskExecution.objects.exists()


def test_a_call_is_committed_with_what_surrounds_it():
    with transaction.atomic():
        Group.objects.create(name="with it")
        handle = tasks.add.delay(1, 2)

    assert Group.objects.filter(name="with it").exists()
    assert handle.state is ExecutionState.PENDING


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        (object(), "args[0]"),
        ({"when": {1, 2}}, "args[0]['when']"),
        ([1, float("nan")], "args[0][1]"),
        ({1: "one"}, "args[0]"),
        ("NUL \x00", "args[0]"),
        ("\ud800", "args[0]"),
    ],
)
def test_an_argument_that_is_not_json_is_named_before_anything_is_written(argument, named):
    with pytest.raises(TypeError) as raised:
        tasks.add.delay(argument, 2)

    assert str(raised.value).startswith(named + " ")
    assert isinstance(raised.value, ArgumentError)
    assert not TaskExecution.objects.exists()


def test_arguments_that_do_not_fit_the_function_are_refused_at_the_call():
    with pytest.raises(TypeError, match=r"project\.tasks\.add\(\): missing a required argument: 'b'"):
        tasks.add.delay(1)
    assert not TaskExecution.objects.exists()


def test_an_unknown_queue_is_refused_at_the_call():
    with pytest.raises(UnknownQueue, match="unknown queue 'nowhere': write one of 'default', 'heavy'"):
        tasks.add.using(queue_name="nowhere").delay(1, 2)
    assert not TaskExecution.objects.exists()


def test_a_failed_try_is_followed_by_the_allowed_ones_each_with_its_error():
    handle = tasks.fail.delay("first reason")
    for _ in range(4):
        TaskExecutionTry.objects.update(run_after=None)
        messages.deliver(handle)

    assert messages.states(handle) == ["failed"] * 4
    assert handle.refresh().state is ExecutionState.FAILED
    for attempt in messages.tries(handle):
        assert (attempt.error_class, attempt.error_message) == ("ValueError", "first reason")
        assert "raise ValueError(text)" in attempt.traceback
    with pytest.raises(TaskFailed, match="ValueError: first reason"):
        handle.result(timeout=0)
