"""Running a task here and now: a direct call, ``sync_run`` and ``force_sync``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, transaction

import messages
from i3tasks_core.errors import LeaseLost
from i3tasks_core.states import ExecutionState
from i3tasks_django import Task
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


@pytest.mark.parametrize("call", [tasks.add, tasks.add.sync_run])
def test_the_return_value_comes_back_and_the_run_is_recorded(call):
    assert call(1, b=2) == 3

    execution = TaskExecution.objects.get()
    attempt = execution.tries.get()
    assert (execution.state, attempt.state, attempt.result.result) == ("success", "success", 3)
    assert attempt.started_at <= attempt.finished_at


def test_an_exception_reaches_the_caller_and_is_recorded_without_a_retry():
    with pytest.raises(ValueError, match="no luck"):
        tasks.fail()

    attempt = TaskExecutionTry.objects.get()
    assert (attempt.state, attempt.error_message) == ("failed", "no luck")
    assert attempt.task_execution.state == "failed"


def test_a_bound_task_gets_its_metadata_here_too():
    assert tasks.who_am_i()["try_number"] == 1


def test_an_async_task_runs_here_too():
    assert tasks.add_async(1, 2) == 3


def test_a_value_that_cannot_be_stored_still_comes_back():
    assert isinstance(tasks.give_back_an_object(), object)
    assert TaskExecutionTry.objects.get().state == "failed"


def test_inside_a_transaction_the_record_shares_its_fate():
    with pytest.raises(ValueError, match="no luck"), transaction.atomic():
        tasks.fail()
    assert not TaskExecution.objects.exists()

    with transaction.atomic():
        tasks.add(1, 2)
    assert TaskExecution.objects.get().state == "success"


def test_a_database_error_inside_the_callers_transaction_is_the_one_the_caller_sees():
    with pytest.raises(DatabaseError, match=r"division by zero|no such table"), transaction.atomic():
        tasks.divide_in_the_database()


def test_a_task_that_breaks_the_callers_transaction_shows_its_own_error():
    Group.objects.create(name="twice")
    with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
        tasks.make_group("twice")


@pytest.mark.parametrize("is_forced", [False, True])
def test_an_atomic_task_is_atomic_here_too(i3tasks, is_forced):
    i3tasks(force_sync=is_forced)
    call = tasks.make_group.delay if is_forced else tasks.make_group

    call("made")
    with pytest.raises(ValueError, match="after the write"):
        call("never", then_fail=True)

    assert [group.name for group in Group.objects.all()] == ["made"]
    assert sorted(TaskExecutionTry.objects.values_list("state", flat=True)) == ["failed", "success"]


def test_an_atomic_task_whose_lease_was_lost_leaves_nothing_here_either():
    def lose(name, **_):
        Group.objects.create(name=name)
        TaskExecutionTry.objects.update(fence=9)
        return name

    atomic = replace(tasks.make_group.definition, body=lose)
    with pytest.raises(LeaseLost):
        Task(tasks.make_group._func, atomic)("never")

    assert not Group.objects.exists()


def test_force_sync_runs_the_call_at_once(i3tasks):
    i3tasks(force_sync=True)

    handle = tasks.add.delay(1, 2)

    assert handle.state is ExecutionState.SUCCESS
    assert handle.result(timeout=0) == 3
    assert messages.states(handle) == ["success"]


def test_force_sync_lets_an_exception_through(i3tasks):
    i3tasks(force_sync=True)

    with pytest.raises(ValueError, match="no luck"):
        tasks.fail.delay()
    assert TaskExecution.objects.get().state == "failed"
