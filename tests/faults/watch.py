"""What the rows must say after every single step, and not only in the end (there: ``invariants``).

I1 (its half that holds at any moment) an open call has a try that waits or runs · I2 one success an
execution, and what has ended stays as it is · I3 nothing of a rolled-back call · I6 each tick once · I8 tries
as allowed. I4 and I5 are the plans' own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from named_calls import RETRIES
from plans import Plan

from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup, TaskScheduleTick

UNFINISHED = ("pending", "running")


@dataclass
class Look:
    """The tables as they are now, each read once.

    Attributes:
        states: of the named calls.
        tries: number and state of each try of a named call, in order.
        members: of each group: the state of each call and group in it, and whether it is a member's last.
    """

    names: dict[UUID, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    tries: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    groups: list[TaskGroup] = field(default_factory=list)
    members: dict[UUID, list[tuple[str, bool]]] = field(default_factory=lambda: defaultdict(list))
    scheduled: dict[UUID, str] = field(default_factory=dict)


def look() -> Look:
    seen = Look()
    found = TaskExecution.objects.values_list(
        "pk", "task_name", "task_args", "state", "task_group", "member_number"
    )
    for pk, task_name, args, state, group_id, number in found:
        if task_name == "tick":
            seen.scheduled[pk] = state
            continue
        assert args[0] not in seen.states, f"{args[0]} was called twice"
        seen.names[pk], seen.states[args[0]] = args[0], state
        if group_id is not None:
            seen.members[group_id].append((state, number is not None))
    tries = TaskExecutionTry.objects.order_by("try_number")
    for pk, number, state in tries.values_list("task_execution", "try_number", "state"):
        if pk in seen.names:
            seen.tries[seen.names[pk]].append((number, state))
    seen.groups = list(TaskGroup.objects.all())
    for group in seen.groups:
        if group.task_group_id is not None:
            ended = group.status if group.finished_at is not None else "pending"
            seen.members[group.task_group_id].append((ended, group.member_number is not None))
    return seen


class Watch:
    """Compares what there is with what was asked for, and with what there was.

    Attributes:
        plans: what was committed.
        stopped: calls that were cancelled, with the number of their tries then.
    """

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.stopped: dict[str, int] = {}
        self._ended: dict[str, tuple[str, Any]] = {}

    def check(self) -> Look:
        """Every invariant, at any moment."""
        seen = look()
        self._only_what_was_committed(seen)
        for plan in self.plans:
            plan.state(seen.states)
        for label, state in seen.states.items():
            self._tries_fit(label, state, seen.tries[label])
        self._what_is_cancelled_gets_no_further_try(seen)
        self._what_has_ended_stays(seen)
        _counters_are_exact(seen)
        self._each_atomic_success_wrote_once(seen)
        _each_tick_is_one_call(seen)
        return seen

    def check_end(self) -> None:
        """I1: every call has ended."""
        seen = self.check()
        open_calls = [label for label, state in seen.states.items() if state == "pending"]
        assert not open_calls, f"{open_calls} never ended"
        assert "pending" not in seen.scheduled.values()
        for plan in self.plans:
            assert plan.state(seen.states) != "pending"
        for group in seen.groups:
            assert group.finished_at is not None, f"{group} never ended"
            assert group.completed_count + group.failed_count == group.total_count

    def _only_what_was_committed(self, seen: Look) -> None:
        known: set[str] = set().union(*(plan.labels() for plan in self.plans))
        assert seen.states.keys() <= known, f"{seen.states.keys() - known} were rolled back, or refused"

    def _tries_fit(self, label: str, state: str, tries: list[tuple[int, str]]) -> None:
        states = [each for _, each in tries]
        assert [number for number, _ in tries] == list(range(1, len(tries) + 1)), f"{label}: {tries}"
        assert len(tries) <= RETRIES + 1, f"{label}: {tries}"
        assert set(states[:-1]) <= {"failed", "lost"}, f"{label}: {tries}"
        assert (states[-1] in UNFINISHED) is (state == "pending"), f"{label} is {state}: {tries}"
        assert (states[-1] == "success") is (state == "success"), f"{label} is {state}: {tries}"

    def _what_is_cancelled_gets_no_further_try(self, seen: Look) -> None:
        for label, count in self.stopped.items():
            assert len(seen.tries[label]) == count, f"{label} was cancelled and is tried again"

    def _what_has_ended_stays(self, seen: Look) -> None:
        now = {
            label: (state, seen.tries[label]) for label, state in seen.states.items() if state != "pending"
        }
        for label, before in self._ended.items():
            assert now.get(label) == before, f"{label} had ended as {before} and is {now.get(label)}"
        self._ended = now

    def _each_atomic_success_wrote_once(self, seen: Look) -> None:
        atomic = {label for plan in self.plans for label, leaf in plan.leaves().items() if leaf.is_atomic}
        written = Counter(Group.objects.values_list("name", flat=True))
        assert written == Counter(label for label in atomic if seen.states.get(label) == "success")


def _counters_are_exact(seen: Look) -> None:
    for group in seen.groups:
        counted = (group.completed_count, group.failed_count)
        if group.cancel_requested_at is None:
            members = seen.members[group.pk]
            succeeded = sum(state == "success" and is_last for state, is_last in members)
            not_succeeded = sum(state in ("failed", "cancelled") for state, _ in members)
            assert counted == (succeeded, not_succeeded), f"{group} counts {counted}: {members}"
        is_full = sum(counted) == group.total_count
        assert sum(counted) <= group.total_count, f"{group} counts {counted} of {group.total_count}"
        assert (group.finished_at is not None) is is_full, f"{group} is {group.status} with {counted}"


def _each_tick_is_one_call(seen: Look) -> None:
    ticks = TaskScheduleTick.objects.values_list("schedule", "tick_at", "task_execution")
    calls = [call for _, _, call in ticks]
    assert len({(schedule, tick_at) for schedule, tick_at, _ in ticks}) == len(calls)
    assert sorted(calls) == sorted(seen.scheduled), "a tick without a call, or a call without a tick"
