"""``.then()`` at any moment around the end: what it took runs once, in its order; nothing is lost."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from chaos import any_seed, seeded
from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from invariants import Rows

import databases
import messages
from i3tasks_core.claim import Claim
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_django import ChainHandle
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.models import TaskExecution, TaskGroup
from i3tasks_django.runtime import runtime
from project import tasks

ISOLATION = {
    "read-committed": IsolationLevel.READ_COMMITTED,
    "repeatable-read": IsolationLevel.REPEATABLE_READ,
    "serializable": IsolationLevel.SERIALIZABLE,
}


@pytest.fixture(params=["sqlite", *ISOLATION], autouse=True)
def _isolation(request: pytest.FixtureRequest) -> Iterator[None]:
    """A migrated, empty database, whose transactions see as much of each other as it says."""
    if request.param == "sqlite":
        database: databases.Database = request.getfixturevalue("sqlite_session")
    else:
        shared = request.getfixturevalue("postgres_session")
        options = {"isolation_level": ISOLATION[request.param]}
        database = replace(shared, settings={**shared.settings, "OPTIONS": options})
    with databases.current(database):
        yield
        databases.clear()


class Bells:
    """A Pub/Sub that hands each message over once, to whoever asks next."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[bytes, dict[str, str]]] = queue.SimpleQueue()

    def take(self, _publisher: Publisher, _topic: str, rung: list[tuple[bytes, dict[str, str]]]) -> None:
        for message in rung:
            self._waiting.put(message)

    def deliver_all(self) -> None:
        """Everything that waits, and what comes of it."""
        delivery = Delivery(runtime())
        while not self._waiting.empty():
            delivery.deliver(delivery.read(*self._waiting.get()))

    def claim_all(self) -> list[Claim]:
        """The same, but hold it."""
        claims: list[Claim] = []
        while not self._waiting.empty():
            envelope = Delivery(runtime()).read(*self._waiting.get())
            claims += messages.claim(ChainHandle(envelope.execution_id))
        return claims


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> Bells:
    made = Bells()
    monkeypatch.setattr(Publisher, "publish", lambda *given: made.take(*given))  # noqa: PLW0108 - a method that gets its publisher
    return made


class Race:
    """Threads that live for the whole test, each with its connection, and begin at random offsets.

    Attributes:
        reach: seconds within which the others begin after the first; as long as the first takes, about.
    """

    def __init__(self, hands: list[ThreadPoolExecutor], dice: random.Random) -> None:
        self._hands, self._dice = hands, dice
        self.reach = 0.005

    def run(self, first: Callable[[], Any], *others: Callable[[], Any]) -> list[Any]:
        """Their results; the first error of any is raised."""
        barrier = threading.Barrier(1 + len(others))
        offsets = [0.0, *[self._dice.uniform(0, self.reach) for _ in others]]
        actions = zip(self._hands, (self._timed(first), *others), offsets, strict=True)
        futures = [hand.submit(_begin, barrier, action, offset) for hand, action, offset in actions]
        return [future.result(60) for future in futures]

    def _timed(self, action: Callable[[], Any]) -> Callable[[], Any]:
        def timed() -> Any:
            began = time.perf_counter()
            try:
                return action()
            finally:
                self.reach = 1.2 * (time.perf_counter() - began)

        return timed


def _begin(barrier: threading.Barrier, action: Callable[[], Any], offset: float) -> Any:
    barrier.wait(30)
    time.sleep(offset)  # the offset is what is tried out: there is no condition to wait for
    return action()


@contextmanager
def race(dice: random.Random, count: int = 3) -> Iterator[Race]:
    with ExitStack() as exits:
        hands = [exits.enter_context(ThreadPoolExecutor(1)) for _ in range(count)]
        try:
            yield Race(hands, dice)
        finally:
            for hand in hands:
                hand.submit(connections.close_all).result(60)


def a_call() -> ChainHandle:
    return tasks.log_sent.delay("begin")


def a_group() -> TaskGroup:
    return TaskGroup.dispatch([tasks.log_sent.s("member"), tasks.log_sent.s("member")])


@pytest.mark.parametrize("begin", [a_call, a_group])
@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(30, id="quick"),
        pytest.param(1_700, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
def test_what_then_takes_runs_once_and_in_order(begin, rounds, bells):
    begun: list[UUID] = []
    with seeded(any_seed()) as dice, race(dice) as threads:
        for _ in range(rounds):
            stage = begin()
            claims = bells.claim_all()
            verdicts, one, other = threads.run(
                lambda claims=claims: perform_with_all_that_follows(claims, bells),
                lambda stage=stage: _again(stage).then(tasks.log_sent, "a1").then(tasks.log_sent, "a2"),
                lambda stage=stage: _again(stage).then(tasks.log_sent, "b1"),
            )
            bells.deliver_all()
            assert verdicts == {Verdict.SETTLED}
            assert one.refused == other.refused == ()
            begun.append(stage.id)

        _each_chain_has_every_step_once_and_in_order(begun)
        _some_came_before_the_end_and_some_after(begun, begin)


def perform_with_all_that_follows(claims: list[Claim], bells: Bells) -> set[Verdict]:
    verdicts = {messages.perform(held) for held in claims}
    bells.deliver_all()
    return verdicts


def _again(stage: ChainHandle | TaskGroup) -> ChainHandle | TaskGroup:
    """The same, as another thread would hold it."""
    return ChainHandle(stage.id) if isinstance(stage, ChainHandle) else TaskGroup(pk=stage.pk)


def _each_chain_has_every_step_once_and_in_order(begun: list[UUID]) -> None:
    rows = Rows()
    assert {row.state for row in rows.executions.values()} == {"success"}
    for pk in begun:
        steps = list(_steps_after(pk, rows))
        assert sorted(steps) == ["a1", "a2", "b1"], f"{pk} is followed by {steps}"
        assert steps.index("a1") < steps.index("a2"), f"{pk} is followed by {steps}"


def _steps_after(pk: UUID, rows: Rows) -> Iterator[str]:
    while following := rows.after[pk]:
        (only,) = following
        yield only.task_args[0]
        pk = only.pk


def _some_came_before_the_end_and_some_after(begun: list[UUID], begin: Callable[[], Any]) -> None:
    """Without which the test would have tried out nothing: steps that came before stand in the chain."""
    stage = TaskGroup if begin is a_group else TaskExecution
    early = [len(chain) for chain in stage.objects.filter(pk__in=begun).values_list("chain", flat=True)]
    print(f"{sum(early)} of {3 * len(begun)} steps were added before the end")
    assert 0 < sum(early) < 3 * len(begun)
