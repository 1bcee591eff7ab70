"""A broker that duplicates, delays, reverses, drops and forgets costs time, and never a task."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Any

import invariants
import pytest
from chaos import any_seed, seeded
from django.db import connection, connections
from django.db.models.functions import Now
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from faulty_broker import FAULTS, FaultyBroker
from oracle import Oracle

import messages
from i3tasks_core.errors import PubSubUnavailable
from i3tasks_core.finish import Finish
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_core.worker import Worker
from i3tasks_django import chain, group
from i3tasks_django.beating import SideBeat
from i3tasks_django.delivery import Delivery, SharedDelivery
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.runtime import runtime
from i3tasks_django.views import push as view
from processes import wait_until
from project import tasks
from project.fault_tasks import leave_a_trace
from project.stumbling import stumble

CONCURRENCY = 8
SEEDS = [1, 22, 333, any_seed()]


@pytest.fixture
def hurried_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks after a doorbell forty times as soon, and takes a queue for forgotten as soon."""
    soon = timedelta(seconds=0.25)
    monkeypatch.setattr("i3tasks_django.store.insert.FIRST_DISTANCE", soon)
    monkeypatch.setattr("i3tasks_django.store.create.FIRST_DISTANCE", soon)
    monkeypatch.setattr("i3tasks_django.store.relay._DISTANCE", "(0.25 * publish_count)")
    monkeypatch.setattr("i3tasks_django.store.relay.OVERTAKEN_BY", soon)
    monkeypatch.setattr("i3tasks_django.store.relay.RECENT", soon)


class ClosingWorker(Worker):
    """Its threads end before their process does, and must leave no connection open."""

    def _run_until_stopped(self) -> None:
        with closing_connections():
            super()._run_until_stopped()

    def _pull_until_stopped(self) -> None:
        with closing_connections():
            super()._pull_until_stopped()

    def _settle(self, finishes: list[Finish]) -> None:
        with closing_connections():
            super()._settle(finishes)


@contextmanager
def closing_connections() -> Iterator[None]:
    try:
        yield
    finally:
        connections.close_all()


@contextmanager
def pulling(broker: FaultyBroker) -> Iterator[None]:
    """A pull worker in this process, on its real threads."""
    worker = ClosingWorker(
        source=broker,
        delivery=Delivery(runtime(), "heavy"),
        queue_name="heavy",
        concurrency=CONCURRENCY,
        redeclare=lambda: None,
    )
    worker.start()
    try:
        yield
    finally:
        assert worker.stop(10) == 0


@contextmanager
def pushing(broker: FaultyBroker) -> Iterator[None]:
    """A receiver's threads; the status is the acknowledgement."""

    def run() -> None:
        with closing_connections():
            while not is_over.is_set():
                with suppress(PubSubUnavailable):
                    for message in broker.pull(1, 0.2):
                        if post(message) == 200:
                            broker.acknowledge([message.ack_id])

    is_over = threading.Event()
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        ends = [threads.submit(run) for _ in range(CONCURRENCY)]
        try:
            yield
        finally:
            is_over.set()
            for end in ends:
                end.result(20)


def post(message: Received) -> int:
    body = {"data": base64.b64encode(message.data).decode(), "attributes": message.attributes}
    request = RequestFactory().post(
        "/i3/tasks-push/", json.dumps({"message": body}), content_type="application/json"
    )
    return view.push(request).status_code


WAYS: dict[str, Callable[[FaultyBroker], Any]] = {"pull": pulling, "push": pushing}


@contextmanager
def a_side_beat() -> Iterator[None]:
    beat = SideBeat((0.1, 0.2))
    beat.start()
    try:
        yield
    finally:
        beat.stop()
        assert beat.ends(10)


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch, hurried_relay: None) -> Callable[[FaultyBroker], None]:
    """Publishes to a broker of the test's; pushes share their statements, as in a receiver."""
    monkeypatch.setattr(view, "_kind", SharedDelivery)
    monkeypatch.setattr(view, "_deliveries", {})
    monkeypatch.setattr(Publisher, "open", lambda _self: None)
    return lambda broker: monkeypatch.setattr(
        Publisher, "publish", lambda _self, *given: broker.publish(*given)
    )


@pytest.mark.usefixtures("either_database")
@pytest.mark.parametrize(("way", "fault"), [*(("pull", fault) for fault in FAULTS), ("push", "all of it")])
def test_every_call_completes_once_whatever_the_broker_does(way, fault, brokers, oracle):
    with seeded(any_seed()) as dice:
        through(way, FaultyBroker(FAULTS[fault], dice), brokers, oracle, 3)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", SEEDS, ids=["1", "22", "333", "fresh"])
def test_every_one_of_many_calls_completes_once(seed, way, fault, brokers, oracle):
    with seeded(seed) as dice:
        broker = FaultyBroker(FAULTS[fault], dice)
        count = through(way, broker, brokers, oracle, 60)
        print(
            f"{way}, {fault}, {connection.vendor}, seed {seed}: {count} tasks, "
            f"{broker.delivered_count} deliveries, 0 completed twice, 0 lost"
        )


def through(way: str, broker: FaultyBroker, brokers: Any, oracle: Oracle, scale: int) -> int:
    """How many calls went through; the invariants hold, and no try was lost on the way."""
    with ExitStack() as exits:
        brokers(broker)
        exits.callback(broker.close)
        exits.enter_context(a_side_beat())
        exits.enter_context(WAYS[way](broker))
        count = call_some(str(oracle.path), scale)
        wait_until(everything_has_ended, 60 + scale, "everything ends")

    rows, runs = invariants.Rows(), oracle.read()
    assert len(rows.executions) == count
    invariants.check(rows, runs, most_lost=0, may_fail=True)
    assert not TaskExecutionTry.objects.filter(state="lost").exists()
    return count


def call_some(path: str, scale: int) -> int:
    """Calls, chains, groups and what fails once; how many executions come of them."""
    for number in range(scale):
        leave_a_trace.delay(path, f"call-{number}")
        stumble.delay(path, f"stumbles-{number}")
        chain(*[leave_a_trace.s(path, f"chain-{number}-{step}") for step in range(3)]).delay()
        members = [leave_a_trace.s(path, f"member-{number}-{member}") for member in range(4)]
        chain(group(members), leave_a_trace.s(path, f"joined-{number}")).delay()
    return 10 * scale


def everything_has_ended() -> bool:
    return not TaskExecution.objects.filter(state="pending").exists()


STATES: dict[str, Callable[[Any], Any]] = {
    "running": messages.claim,
    "succeeded": messages.deliver,
    "cancelled": lambda handle: handle.cancel(),
    "early": lambda _: TaskExecutionTry.objects.update(run_after=Now() + timedelta(minutes=1)),
}


@pytest.mark.usefixtures("database", "silent_pubsub")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("count", [1, 10])
def test_duplicates_cost_two_statements_however_many_come_together(state, count):
    handles = [tasks.add_heavy.delay(1, 2) for _ in range(count)]
    bells = [messages.received(messages.envelope_of(handle), str(handle.id)) for handle in handles]
    for handle in handles:
        STATES[state](handle)

    with CaptureQueriesContext(connection) as queries:
        admission = Delivery(runtime(), "heavy").admit(bells)

    assert (admission.claims, len(admission.consumed)) == ([], count)
    assert len(queries) <= 2
