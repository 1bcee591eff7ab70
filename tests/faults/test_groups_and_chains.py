"""Groups and chains while their workers are killed: each group joins once, each chain keeps its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import invariants
import pytest
from chaos import Chaos, long, quick, seeded
from django.db import connections, transaction
from figures import figures
from oracle import Oracle

from i3tasks_django import chain
from i3tasks_django.models import TaskExecution, TaskGroup
from processes import wait_until
from project.fault_tasks import is_doomed, leave_a_trace

WORKERS, CONCURRENCY = 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is called; 5 % of the members fail for good.

    Attributes:
        patience: seconds that the whole of it may take.
    """

    groups: int
    members: int
    chains: int
    steps: int
    kills: int
    patience: float

    @property
    def labels(self) -> Iterator[str]:
        """What must have been called in the end, once each."""
        for number in range(self.groups):
            members = self.members_of(number)
            yield from members
            yield f"group-{number}-{'broken' if any(map(is_doomed, members)) else 'joined'}"
        for number in range(self.chains):
            yield from self.steps_of(number)

    def members_of(self, group: int) -> list[str]:
        return [f"group-{group}-member-{number}" for number in range(self.members)]

    def steps_of(self, number: int) -> list[str]:
        return [f"chain-{number}-step-{step}" for step in range(self.steps)]


# Who is killed between a commit and its ring leaves that to the relay: for a minute, if the queue is busy.
QUICK = Scale(groups=15, members=20, chains=30, steps=5, kills=5, patience=95)
LONG = Scale(groups=500, members=20, chains=1_000, steps=5, kills=100, patience=1_500)


@pytest.mark.parametrize(("scale", "seed"), [*quick(QUICK), *long(LONG, timeout=1_800)])
def test_killed_workers_cost_no_step_and_no_join(scale, seed, services, oracle):
    with seeded(seed) as dice:
        chaos = Chaos(services, dice, worker_count=WORKERS, concurrency=CONCURRENCY)
        for _ in range(2):
            services.start("i3tasks_beat", PORT="0")
        expected = Counter(scale.labels)

        with ThreadPoolExecutor(1) as caller:
            calls = caller.submit(call_everything, scale, oracle)
            chaos.kill_during(oracle, 2 * expected.total() * 9 // 10, scale.kills, scale.patience)
            calls.result(scale.patience)
        wait_until(everything_has_ended, scale.patience, "everything ends")

        rows, runs = invariants.Rows(), oracle.read()
        assert Counter(row.task_args[1] for row in rows.executions.values()) == expected
        invariants.check(rows, runs, most_lost=chaos.most_lost)
        print(figures(rows, runs, chaos.kills))


def call_everything(scale: Scale, oracle: Oracle) -> None:
    try:
        for number in range(max(scale.chains, scale.groups)):
            if number < scale.chains:
                call_chain(scale, number, str(oracle.path))
            if number < scale.groups:
                call_group(scale, number, str(oracle.path))
            call_what_is_rolled_back(str(oracle.path))
    finally:
        connections.close_all()


def call_chain(scale: Scale, number: int, path: str) -> None:
    chain(*[leave_a_trace.s(path, label) for label in scale.steps_of(number)]).delay()


def call_group(scale: Scale, number: int, path: str) -> None:
    """Every other one takes its members one by one, while the first of them are already running."""
    joined, broken = (leave_a_trace.s(path, f"group-{number}-{how}") for how in ("joined", "broken"))
    labels = scale.members_of(number)
    if number % 2:
        members = [leave_a_trace.s(path, label, may_fail=True) for label in labels]
        TaskGroup.dispatch(members, callback=joined, on_failure=broken)
        return
    group = TaskGroup.create(joined, len(labels), on_failure=broken)
    for label in labels:
        leave_a_trace.delay(path, label, may_fail=True, __i3group__=group)


def call_what_is_rolled_back(path: str) -> None:
    with transaction.atomic():
        leave_a_trace.s(path, "rolled-back").then(leave_a_trace, path, "after-rolled-back").delay()
        transaction.set_rollback(True)


def everything_has_ended() -> bool:
    is_open = TaskExecution.objects.filter(state="pending").exists()
    return not is_open and not TaskGroup.objects.filter(finished_at=None).exists()
