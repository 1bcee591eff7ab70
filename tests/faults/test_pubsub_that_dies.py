"""Pub/Sub killed with all it knew, away for minutes, or silent: calls go on, and everything runs later."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import invariants
import ledger
import pytest
from brokers import Broker, broker
from chaos import long, moments, seeded
from django.db import connection, transaction
from figures import figures
from load import DRAIN, Load
from oracle import Oracle
from sqlite_file import check_integrity

import databases
import processes
from i3tasks_django import ringing
from i3tasks_django.models import TaskExecution
from i3tasks_django.publishing import declare
from i3tasks_django.ringing import Ringer
from i3tasks_django.runtime import Runtime
from processes import wait_until
from project.fault_tasks import leave_a_trace

BACK = 60.0
"""Seconds after Pub/Sub is back until everything has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Calls spread over the time without Pub/Sub.

    Attributes:
        is_punctual: whether the callers' waits are held to their bounds; a busy test run is no place for it.
    """

    calls: int
    seconds: float
    is_punctual: bool


SHORT = Outage(calls=40, seconds=3, is_punctual=False)
MINUTE = Outage(calls=200, seconds=60, is_punctual=True)
FIVE_MINUTES = Outage(calls=1_000, seconds=300, is_punctual=True)

CHAOS = [pytest.mark.chaos, pytest.mark.timeout(600)]
GOOGLE = [*CHAOS, pytest.mark.google]


@pytest.fixture(autouse=True)
def ringer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls ring as they do everywhere but in the other tests: from a thread, and nobody waits for it."""
    own = Ringer()
    monkeypatch.setattr(ringing, "_ringer", own)
    monkeypatch.setattr(ringing, "ring", own.ring)
    yield
    own.flush(20)


@pytest.fixture
def make_services(
    request: pytest.FixtureRequest, override: Callable[..., Runtime]
) -> Iterator[Callable[[str, str], Broker]]:
    """A worker and a beat on a database and a Pub/Sub of their own; every setting is as it comes."""
    with ExitStack() as exits:

        def make(vendor: str, kind: str) -> Broker:
            chosen: databases.Database = request.getfixturevalue(f"{vendor}_session")
            exits.enter_context(databases.current(chosen))
            exits.callback(databases.clear)
            pubsub = exits.enter_context(broker(kind))
            project = f"p{uuid.uuid4().hex[:12]}"
            override(PUBSUB_CONFIG={"EMULATOR": True, "HOST": pubsub.target, "PROJECT_ID": project})
            services = exits.enter_context(processes.stack(chosen))
            exits.enter_context(ledger.ledger())
            assert declare()
            services.worker()
            services.beat()
            return pubsub

        yield make


@pytest.mark.parametrize(
    ("place", "fault", "outage"),
    [
        pytest.param(("sqlite", "embedded"), Broker.kill, SHORT, id="away-quick"),
        pytest.param(("postgres", "embedded"), Broker.hold, SHORT, id="silent-quick"),
        pytest.param(("postgres", "embedded"), Broker.kill, FIVE_MINUTES, id="away-long", marks=CHAOS),
        pytest.param(("sqlite", "embedded"), Broker.kill, FIVE_MINUTES, id="away-long-sqlite", marks=CHAOS),
        pytest.param(("postgres", "google"), Broker.kill, FIVE_MINUTES, id="away-long-google", marks=GOOGLE),
        pytest.param(("postgres", "embedded"), Broker.hold, MINUTE, id="silent-long", marks=CHAOS),
    ],
)
def test_calls_go_on_without_pubsub_and_run_when_it_is_back(place, fault, outage, make_services, oracle):
    pubsub = make_services(*place)
    leave_a_trace.delay(str(oracle.path), "before")
    wait_until(has_ended, DRAIN, "what was called before runs")

    fault(pubsub)
    waits, usual = call_all_the_time(outage, oracle)
    pubsub.kill()
    pubsub.start()
    back_at = time.monotonic()
    wait_until(has_ended, BACK, "everything that was called meanwhile runs")
    drained = time.monotonic() - back_at

    rows, runs = invariants.Rows(), oracle.read()
    invariants.check(rows, runs, most_lost=0)
    assert len(rows.executions) == outage.calls + 1
    first, p99 = waits[0], p99_of(waits[1:])
    print(
        f"{outage.seconds:g} s without Pub/Sub: {outage.calls} calls, 0 failed, the first took "
        f"{first * 1000:.0f} ms, then p99 {p99 * 1000:.1f} ms (without a ring "
        f"{p99_of(usual) * 1000:.1f} ms); drained {drained:.1f} s after it was back; "
        f"{figures(rows, runs, [])}"
    )
    # What is as slow when nobody is rung for is the machine.
    assert not outage.is_punctual or (first <= 2 and p99 <= max(0.02, 1.5 * p99_of(usual)))


def p99_of(waits: list[float]) -> float:
    return sorted(waits)[len(waits) * 99 // 100]


def call_all_the_time(outage: Outage, oracle: Oracle) -> tuple[list[float], list[float]]:
    """Seconds that each caller waited, and that each took whose call was rolled back; none gets an error."""
    waits, usual, began = [], [], time.monotonic()
    for number in range(outage.calls):
        time.sleep(max(0.0, began + number * outage.seconds / outage.calls - time.monotonic()))
        called = time.monotonic()
        leave_a_trace.delay(str(oracle.path), "call")
        waits.append(time.monotonic() - called)
        called = time.monotonic()
        with transaction.atomic():
            leave_a_trace.delay(str(oracle.path), "never")
            transaction.set_rollback(True)
        usual.append(time.monotonic() - called)
    return waits, usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Amnesia:
    groups: int
    members: int
    restarts: int


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(("sqlite", "embedded"), id="sqlite-embedded"),
        pytest.param(("postgres", "embedded"), id="postgresql-embedded"),
        pytest.param(("postgres", "google"), id="postgresql-google", marks=pytest.mark.google),
    ],
)
@pytest.mark.parametrize(("scale", "seed"), long(Amnesia(groups=100, members=20, restarts=5), timeout=400))
def test_a_pubsub_that_forgets_everything_costs_no_task(scale, seed, place, make_services, oracle):
    with seeded(seed) as dice:
        pubsub = make_services(*place)
        load = Load(oracle, members=scale.members)
        with load.running(scale.groups, DRAIN):
            last_line = scale.groups * load.lines_each * 9 // 10
            for _ in moments(oracle, dice, last_line, scale.restarts, DRAIN):
                pubsub.kill()
                pubsub.start()
        wait_until(load.has_ended, DRAIN, "everything ends")

        runs = oracle.read()
        rows = load.check(runs, most_lost=0)
        check_integrity(connection)
        print(f"{scale.restarts} restarts with amnesia; {figures(rows, runs, [])}")


def has_ended() -> bool:
    return not TaskExecution.objects.filter(state="pending").exists()
