"""The way to PostgreSQL is cut, goes silent, or loses an answer: no task, thread or process is lost."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import ledger
import pytest
from chaos import long, quick, seeded
from django.db import connection
from figures import figures
from load import DRAIN, Load
from oracle import Oracle
from proxy import Proxy, can_drop, dropping

import databases
import messages
import processes
from i3tasks_core.config import PubSubConfig
from i3tasks_core.envelope import Envelope
from i3tasks_core.identifiers import uuid7
from i3tasks_django import store
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import Runtime
from i3tasks_django.store import database_now
from i3tasks_django.types import PushQueue
from processes import wait_until
from project import tasks

WORKERS, CONCURRENCY, THREADS = 2, 4, 16
UNSTUCK_WITHIN = 30.0

AT_WORK = 50
"""Tries that have been begun and ended: more than were claimed, or run, when the server went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long each fault lasts, in seconds.

    Attributes:
        lost_share: of the transactions, those whose answer is lost.
        refused: within so much a push is told to come again.
    """

    groups: int
    cut: float
    lost_share: float
    refused: float
    patience: float


# A busy test run is no place for the five seconds.
QUICK = Scale(groups=12, cut=2.0, lost_share=0.05, refused=20, patience=60)
LONG = Scale(groups=250, cut=60.0, lost_share=0.05, refused=5, patience=900)
MEMBERS = 20


@pytest.fixture
def proxy(postgres_session: databases.Database) -> Iterator[Proxy]:
    made = Proxy(int(postgres_session.settings["PORT"]))
    yield made
    made.end()


@pytest.fixture(params=[3.0], ids=lambda lease: f"lease {lease:.0f}")
def services(
    request: pytest.FixtureRequest,
    proxy: Proxy,
    postgres_session: databases.Database,
    embedded_pubsub: PubSubConfig,
    i3tasks: Callable[..., Runtime],
) -> Iterator[processes.Stack]:
    """They reach the database through the proxy, and the test without it."""
    proxied = replace(postgres_session, environment={"TEST_POSTGRES_PORT": str(proxy.port)})
    with ExitStack() as exits:
        exits.enter_context(databases.current(postgres_session))
        exits.callback(databases.clear)
        made = exits.enter_context(processes.stack(proxied, lease=request.param))
        exits.enter_context(ledger.ledger())
        i3tasks(default_queue=PushQueue("default", "default", made.push_endpoint))
        assert declare()
        yield made


@contextmanager
def everybody(services: processes.Stack) -> Iterator[None]:
    """Workers, a receiver and a beat, of which none may end."""
    started = [
        services.start("i3tasks_worker", "--queue=heavy", f"--concurrency={CONCURRENCY}")
        for _ in range(WORKERS)
    ]
    started += [services.receiver(), services.beat()]
    yield
    assert all(process.is_alive() for process in started), "a process has ended"


def push(services: processes.Stack) -> tuple[int, float]:
    """The status of a push for a try that is not there, and the seconds it took."""
    body = messages.push_json(Envelope(try_id=2**40, execution_id=uuid7(), queue_name="default"))
    began = time.monotonic()
    client = http.client.HTTPConnection("127.0.0.1", services.port, timeout=60)
    client.request("POST", "/i3/tasks-push/", body, {"Content-Type": "application/json"})
    status = client.getresponse().status
    client.close()
    return status, time.monotonic() - began


def finish(load: Load, oracle: Oracle, *, most_lost: int) -> str:
    wait_until(load.has_ended, DRAIN, "everything ends")
    runs = oracle.read()
    return str(figures(load.check(runs, most_lost=most_lost, may_fail=True), runs, []))


@pytest.mark.parametrize(("scale", "seed"), [*quick(QUICK), *long(LONG, timeout=1_200)])
def test_a_way_that_is_cut_and_one_that_loses_answers(scale, seed, proxy, services, oracle):
    with seeded(seed) as dice, everybody(services):
        load = Load(oracle, members=MEMBERS, queues=("heavy", "default"))
        with load.running(scale.groups, scale.patience):
            wait_until(lambda: oracle.count() > load.lines_each, 60, "somebody works")
            with proxy.losing_answers(dice, scale.lost_share):
                wait_until(lambda: proxy.lost_count > 5, 60, "answers are lost")
            refused = [push_refused(services) for _ in cut(proxy, scale.cut)]

        most_lost = proxy.lost_count + WORKERS * CONCURRENCY + THREADS
        found = finish(load, oracle, most_lost=most_lost)
        print(f"cut for {scale.cut} s, a push refused after {max(refused):.1f} s at most; "
              f"{proxy.lost_count} answers lost; {found}")  # fmt: skip
        assert max(refused) <= scale.refused


def cut(proxy: Proxy, seconds: float) -> Iterator[None]:
    """Again and again while it is cut."""
    until = time.monotonic() + seconds
    proxy.cut()
    try:
        while time.monotonic() < until:
            yield
    finally:
        proxy.heal()


def push_refused(services: processes.Stack) -> float:
    status, seconds = push(services)
    assert status == 503
    return seconds


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.skipif(not can_drop(), reason="packets are dropped by iptables, as root")
@pytest.mark.parametrize("services", [60.0], indirect=True)
def test_a_server_that_is_gone_without_a_word_keeps_no_thread_for_long(proxy, services, oracle):
    with everybody(services):
        load = Load(oracle, members=MEMBERS, queues=("heavy", "default"))
        with load.running(None, 300):
            wait_until(lambda: oracle.count() > 10 * load.lines_each, 60, "somebody works")
            waits = [gone(proxy, queue) for queue in ("heavy", "default", "heavy")]
        found = finish(load, oracle, most_lost=3 * (WORKERS * CONCURRENCY + THREADS))
        print(f"gone three times, at work again after {max(waits):.1f} s at most; {found}")
        assert max(waits) <= UNSTUCK_WITHIN


def gone(proxy: Proxy, queue: str) -> float:
    """The seconds until every thread that worked for the queue may have begun anew."""
    with dropping(proxy.port, proxy.swallow()):
        gone_at = database_now()
        begun = TaskExecutionTry.objects.filter(
            started_at__gt=gone_at, task_execution__queue_name=queue, state="success"
        )
        wait_until(lambda: begun.count() > AT_WORK, 120, f"{queue} is at work again")
        last = begun.order_by("started_at")[AT_WORK]
        return float((last.started_at - gone_at).total_seconds())


@pytest.mark.usefixtures("silent_pubsub")
def test_a_server_that_never_answers_is_given_up_and_asked_anew(
    proxy, postgres_session, monkeypatch, silent_pubsub
):
    monkeypatch.setattr("i3tasks_django.store.watch.LIMIT", 0.3)
    monkeypatch.setattr("i3tasks_django.store.watch._LOOK_EVERY_SECONDS", 0.1)
    through = replace(postgres_session, settings={**postgres_session.settings, "PORT": str(proxy.port)})
    with databases.current(through):
        bells = [messages.envelope_of(tasks.send.delay()) for _ in range(2)]
        store.claim(bells[:1], lease=timedelta(seconds=60), worker="w")
        proxy.swallow()
        began = time.monotonic()

        assert len(store.claim(bells[1:], lease=timedelta(seconds=60), worker="w")) == 1
        assert time.monotonic() - began < 20
        databases.clear()


@pytest.mark.usefixtures("silent_pubsub")
def test_a_connection_that_somebody_has_closed_is_replaced(postgres_session):
    with databases.current(postgres_session):
        bells = [messages.envelope_of(tasks.send.delay())]
        connection.connection.close()

        assert len(store.claim(bells, lease=timedelta(seconds=60), worker="w")) == 1
        databases.clear()
