"""What the store does, act by act: the rows that it needs, the act, and what must hold when all has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import ticks
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.functions import Now

import messages
from i3tasks_core.errors import PubSubError
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_django import chain, group, store
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.maintenance import relay, rescue_lost
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup, TaskSchedule
from i3tasks_django.runtime import runtime
from i3tasks_django.scheduling import fire_due
from project import tasks
from project.fault_tasks import is_doomed, leave_a_trace
from project.stumbling import stumble

DOOMED = next(label for label in map(str, range(1_000)) if is_doomed(label))


def bring_to_an_end() -> None:
    """What a beat and a worker do in time."""
    while TaskExecution.objects.filter(state="pending").exists() or store.is_any_due():
        fire_due()
        expire()
        rescue_lost()
        TaskExecutionTry.objects.filter(state="pending").update(run_after=None)
        deliver_together(bells_of(None))


@dataclass(frozen=True, slots=True)
class Act:
    """Something that the store does.

    Attributes:
        run: does it, with what ``prepare`` has made.
        prepare: makes the rows that it needs; is given the path of the oracle.
        check: what must hold when everything has ended, besides the invariants.
        is_traced: every call leaves its trace, so that the invariants can be asked.
    """

    run: Callable[[Any], Any]
    prepare: Callable[[str], Any] = lambda path: path
    check: Callable[[Any, bool], None] = lambda given, is_done: None
    is_traced: bool = True


# --- enqueue


def call_within_a_transaction(path: str) -> None:
    with transaction.atomic():
        Group.objects.create(name="with it")
        leave_a_trace.delay(path, "1")
        chain(leave_a_trace.s(path, "2"), leave_a_trace.s(path, "3")).delay()


def is_all_or_nothing(_given: Any, is_done: bool) -> None:
    """The caller's own row says which of the two; nothing is missing of what was acknowledged."""
    count = TaskExecution.objects.count()
    assert count == (3 if Group.objects.filter(name="with it").exists() else 0)
    assert count or not is_done


def has_called(count: int) -> Callable[[Any, bool], None]:
    """All of it or, if the caller was told of an error, perhaps none."""

    def check(_given: Any, is_done: bool) -> None:
        assert TaskExecution.objects.count() in ({count} if is_done else {0, count})

    return check


def call_a_composition(path: str) -> None:
    chain(group(*members(path)), leave_a_trace.s(path, "joined")).delay()


def members(path: str) -> list[Any]:
    return [leave_a_trace.s(path, str(number)) for number in range(2)]


def enter_a_group(given: tuple[str, TaskGroup]) -> None:
    path, made = given
    leave_a_trace.delay(path, "late", __i3group__=made)


def group_that_waits(path: str) -> tuple[str, TaskGroup]:
    return path, TaskGroup.create(leave_a_trace.s(path, "joined"), 1)


def the_member_can_be_called_again(given: Any, is_done: bool) -> None:
    """Who was told of an error calls again: the group has kept the place, or has the member."""
    path, made = given
    made.refresh_from_db()
    assert made.member_count or not is_done
    if not made.member_count:
        leave_a_trace.delay(path, "late", __i3group__=made)
        bring_to_an_end()
    assert TaskExecution.objects.count() == 2


def run_here(path: str) -> None:
    assert leave_a_trace.sync_run(path, "here") == "here"


# --- claim, run, settle


def called(make: Callable[[str], Any]) -> Callable[[str], Any]:
    """Rows as ``make`` calls them; the doorbell of what can be run."""
    return lambda path: bells_of(make(path))


def bells_of(_made: Any) -> list[Any]:
    waiting = TaskExecutionTry.objects.filter(state="pending").select_related("task_execution").order_by("pk")
    return [messages.bell_of(row) for row in waiting]


def deliver(bells: list[Any]) -> None:
    for bell in bells:
        Delivery(runtime()).deliver(bell)


def deliver_together(bells: list[Any]) -> None:
    """As a pull worker does."""
    delivery = Delivery(runtime())
    admission = delivery.admit([messages.received(bell, str(bell.try_id)) for bell in bells])
    finishes = [finish for claim in admission.claims if (finish := delivery.run(claim)) is not None]
    if finishes:
        delivery.settle(finishes)


def a_bit_of_everything(path: str) -> None:
    chain(leave_a_trace.s(path, "first"), leave_a_trace.s(path, "second")).delay()
    chain(group(*members(path)), leave_a_trace.s(path, "joined")).delay()
    stumble.delay(path, "stumbles")
    chain(doomed(path), on_failure=leave_a_trace.s(path, "told")).delay()


def two_calls(path: str) -> None:
    leave_a_trace.delay_many([(path, "1"), (path, "2")])


def doomed(path: str) -> Any:
    return leave_a_trace.s(path, DOOMED, may_fail=True)


def step(path: str) -> Any:
    return chain(leave_a_trace.s(path, "first"), leave_a_trace.s(path, "second")).delay()


def joining_group(path: str) -> Any:
    """With one member left to run, which joins it."""
    chain(group(*members(path)), leave_a_trace.s(path, "joined")).delay()
    (first, _) = bells_of(None)
    assert Delivery(runtime()).deliver(first) is Verdict.SETTLED


def failing(path: str) -> Any:
    return chain(doomed(path), on_failure=leave_a_trace.s(path, "told")).delay()


def one_group_was_made(_given: Any, _is_done: bool) -> None:
    assert Group.objects.filter(name="ledger").count() == 1
    assert [row.state for row in TaskExecution.objects.all()] == ["success"]


# --- repair, and what others do


def claimed(make: Callable[[str], Any]) -> Callable[[str], Any]:
    def prepare(path: str) -> Any:
        bells = bells_of(make(path))
        return store.claim(bells, lease=timedelta(seconds=60), worker="silent")

    return prepare


def silent(make: Callable[[str], Any]) -> Callable[[str], Any]:
    def prepare(path: str) -> Any:
        held = claimed(make)(path)
        expire()
        return held

    return prepare


def expire() -> None:
    TaskExecutionTry.objects.filter(state="running").update(lease_until=Now() - timedelta(seconds=1))


def due(path: str) -> None:
    for number in range(3):
        leave_a_trace.delay(path, str(number))
    TaskExecutionTry.objects.update(next_publish_at=Now() - timedelta(seconds=1))


def relay_without_pubsub(_given: Any) -> None:
    def refuse(*_given: Any) -> None:
        raise PubSubError("not now")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "publish", refuse)
        relay()


def schedule(path: str) -> TaskSchedule:
    row = ticks.make_schedule("every-hour", leave_a_trace, path, "tick", cron="0 * * * *")
    TaskSchedule.objects.filter(pk=row.pk).update(next_run_at=Now() - timedelta(seconds=1))
    return row


def one_tick_was_fired(row: TaskSchedule, _is_done: bool) -> None:
    ticks.each_tick_made_one_call()
    assert len(ticks.ticks_of(row)) == 1


def add_steps(handle: Any) -> None:
    handle.then(leave_a_trace, handle.path, "then")


def to_be_continued(is_ended: bool) -> Callable[[str], Any]:
    def prepare(path: str) -> Any:
        handle = step(path)
        if is_ended:
            bring_to_an_end()
        return SimpleNamespace(then=handle.then, path=path)

    return prepare


def the_step_came_or_the_caller_knows(_given: Any, is_done: bool) -> None:
    done = list(TaskExecution.objects.order_by("pk").values_list("task_args__1", "state"))
    expected = [(label, "success") for label in ("first", "second", "then")]
    assert done == expected or (not is_done and done == expected[:2])


def cancel(handles: list[Any]) -> None:
    for handle in handles:
        handle.cancel()


def to_be_cancelled(path: str) -> list[Any]:
    made = group(*members(path)).delay()
    waiting = bells_of(None)
    store.claim(waiting[:1], lease=timedelta(seconds=60), worker="w")
    return [made]


def nothing_goes_on(_given: Any, is_done: bool) -> None:
    """A cancel is tried again by itself, so it has come through."""
    assert is_done
    states = {row.state for row in TaskExecution.objects.all()}
    assert states == {"cancelled"}, states
    assert TaskGroup.objects.get().status == "cancelled"


ACTS = {
    "call": Act(lambda path: leave_a_trace.delay(path, "1"), check=has_called(1)),
    "call with a delay": Act(
        lambda path: leave_a_trace.using(run_after=60).delay(path, "1"), check=has_called(1)
    ),
    "call within a transaction": Act(call_within_a_transaction, check=is_all_or_nothing),
    "call a composition": Act(call_a_composition, check=has_called(3)),
    "call a few at once": Act(
        lambda path: leave_a_trace.delay_many([(path, "1"), (path, "2")]), check=has_called(2)
    ),
    "enter a group": Act(enter_a_group, group_that_waits, the_member_can_be_called_again),
    "run here and now": Act(run_here),
    "deliver": Act(deliver, called(lambda path: leave_a_trace.delay(path, "1"))),
    "deliver what has a step after it": Act(deliver, called(step)),
    "deliver a group's last member": Act(deliver, called(joining_group)),
    "deliver what fails once": Act(deliver, called(lambda path: stumble.delay(path, "1"))),
    "deliver what fails for good": Act(deliver, called(failing)),
    "deliver an atomic task": Act(
        deliver, called(lambda _: tasks.make_group.delay("ledger")), one_group_was_made, is_traced=False
    ),
    "deliver a batch": Act(deliver_together, called(a_bit_of_everything)),
    "rescue": Act(lambda _: rescue_lost(), silent(a_bit_of_everything)),
    "release": Act(store.release, claimed(two_calls)),
    "heartbeat": Act(lambda held: store.heartbeat(held, timedelta(seconds=60)), claimed(two_calls)),
    "relay": Act(lambda _: relay(), due),
    "relay without Pub/Sub": Act(relay_without_pubsub, due),
    "tick": Act(lambda _: fire_due(), schedule, one_tick_was_fired),
    "then, before the end": Act(add_steps, to_be_continued(False), the_step_came_or_the_caller_knows),
    "then, after the end": Act(
        add_steps, to_be_continued(True), the_step_came_or_the_caller_knows, is_traced=False
    ),
    "cancel": Act(cancel, to_be_cancelled, nothing_goes_on, is_traced=False),
}
