"""Random chains and groups in each other, with random failures, duplicates, kills and cancels: all end.

A model in a few lines says what must have run; the rows say what did.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import databases
import messages
from i3tasks_core.states import ExecutionState, GroupState
from i3tasks_django import chain, group, store
from i3tasks_django.composition import Composable
from i3tasks_django.delivery import Delivery
from i3tasks_django.maintenance import rescue_lost
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from i3tasks_django.runtime import runtime
from project import tasks
from trees import Row, trees_of

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

EXAMPLES = 20


@dataclass(frozen=True)
class Leaf:
    """One call. It fails as many of its tries as this says; with more than its retries it fails for good."""

    failures: int


RETRIES = 2
leaves = st.builds(Leaf, st.sampled_from([0, 0, 0, 0, 1, 2, 3]))
trees = trees_of(leaves, shortest=1, widest=4, most_leaves=12)


@dataclass
class Expectation:
    """What must have happened: how often each named call ran to its end, and how the groups ended."""

    ended: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)


class Builder:
    """Makes the value of a tree, each call with a name of its own, and says what must become of it."""

    def __init__(self) -> None:
        self._count = 0
        self.expected = Expectation()

    def build(self, tree: Any) -> tuple[Composable, Any]:
        """The value, and a function that plays it: whether it succeeds."""
        if isinstance(tree, Leaf):
            return self._leaf(tree)
        parts = [self.build(part) for part in (tree.steps if isinstance(tree, Row) else tree.members)]
        values, plays = [value for value, _ in parts], [play for _, play in parts]
        handler, play_handler = self._leaf(Leaf(0)) if tree.on_failure else (None, lambda: True)
        if isinstance(tree, Row):
            return chain(*values, on_failure=handler), lambda: self._play_chain(plays, play_handler)
        return group(*values, on_failure=handler), lambda: self._play_group(plays, play_handler)

    def _leaf(self, leaf: Leaf) -> tuple[Composable, Any]:
        self._count += 1
        name = f"call {self._count}"

        def play() -> bool:
            succeeds = leaf.failures <= RETRIES
            self.expected.ended[f"{name} {'success' if succeeds else 'failed'}"] += 1
            return succeeds

        return tasks.flaky.s(name, leaf.failures), play

    def _play_chain(self, plays: list[Any], play_handler: Any) -> bool:
        if all(play() for play in plays):  # all() goes no further than the first that fails
            return True
        play_handler()
        return False

    def _play_group(self, plays: list[Any], play_handler: Any) -> bool:
        played = [play() for play in plays]  # every member runs, whatever becomes of the others
        succeeds = all(played)
        self.expected.groups["success" if succeeds else "failed"] += 1
        if not succeeds:
            play_handler()
        return succeeds


class Broker:
    """Brings doorbells in any order, some twice; its workers fall silent now and then."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._delivery = Delivery(runtime())
        self.kills = 0

    def run_until_quiet(self) -> None:
        while waiting := list(TaskExecutionTry.objects.filter(state__in=("pending", "running"))):
            attempt = self._dice.choice(waiting)
            TaskExecutionTry.objects.filter(pk=attempt.pk, state="pending").update(run_after=None)
            self._bring(attempt)
            if self._dice.random() < 0.2:
                self._bring(attempt)
            if attempt.state == "running":
                self._let_leases_run_out()

    def _bring(self, attempt: TaskExecutionTry) -> None:
        bell = messages.bell_of(attempt)
        for held in store.claim([bell], lease=runtime().config.lease, worker="w"):
            if self.kills < 6 and held.try_number == 1 and self._dice.random() < 0.15:
                self.kills += (
                    1  # killed before it ran, or after it ran and before it settled: nothing is written
                )
                continue
            self._delivery.perform(held)
            if self._dice.random() < 0.1:
                self._delivery.perform(held)  # a worker that was stopped comes back: its finish is stale

    def _let_leases_run_out(self) -> None:
        TaskExecutionTry.objects.filter(state="running").update(lease_until=Now())
        rescue_lost()


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """What hundreds of failing calls log would take longer than they do."""
    caplog.set_level("CRITICAL", logger="i3tasks")


def ended() -> Counter[str]:
    """What the rows say of every call; the flaky task's first argument is its name."""
    return Counter(f"{row.task_args[0]} {row.state}" for row in TaskExecution.objects.all())


def check_counters() -> None:
    for one in TaskGroup.objects.all():
        assert one.finished_at is not None
        assert one.completed_count + one.failed_count == one.total_count == one.member_count
        assert (one.failed_count == 0) == (one.status == GroupState.SUCCESS)


slow = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@slow
@given(tree=trees, seed=st.integers(0, 2**32))
def test_every_composition_ends_as_the_model_says(tree, seed):
    databases.clear()
    builder = Builder()
    value, play = builder.build(tree)
    value.delay()
    play()

    Broker(random.Random(seed)).run_until_quiet()

    assert ended() == builder.expected.ended
    assert Counter(TaskGroup.objects.values_list("status", flat=True)) == builder.expected.groups
    check_counters()


@slow
@given(tree=trees, seed=st.integers(0, 2**32))
def test_a_cancelled_composition_ends_and_nothing_runs_on(tree, seed):
    databases.clear()
    dice = random.Random(seed)
    builder = Builder()
    value, play = builder.build(tree)
    started = value.delay()
    play()
    broker = Broker(dice)
    for _ in range(dice.randrange(6)):
        if waiting := list(TaskExecutionTry.objects.filter(state="pending").order_by("pk")):
            broker._bring(dice.choice(waiting))

    done = started.cancel()

    assert set(done.running) == set(
        TaskExecutionTry.objects.filter(state="running").values_list("task_execution", flat=True)
    )
    assert not TaskExecutionTry.objects.filter(state="pending").exists()
    before = TaskExecution.objects.count()
    broker.run_until_quiet()
    assert TaskExecution.objects.count() == before
    assert not TaskExecution.objects.filter(state=ExecutionState.PENDING).exists()
    for text, count in ended().items():
        assert count == 1, text
    for one in TaskGroup.objects.all():
        assert one.finished_at is not None
        assert one.completed_count + one.failed_count == one.total_count
