"""The thread that rings, as callers meet it: nobody waits for Pub/Sub, and no bell is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.signals import request_finished
from django.db import connection, transaction

import databases
import messages
from i3tasks_core.config import PubSubConfig
from i3tasks_core.envelope import Envelope
from i3tasks_core.errors import PubSubUnavailable
from i3tasks_core.identifiers import uuid7
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_django import ringing
from i3tasks_django.publishing import declare
from i3tasks_django.pulling import DeclaredFirst
from i3tasks_django.ringing import Ringer, publish_on_commit
from i3tasks_django.runtime import runtime
from project import tasks
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("database")


class SlowPubSub:
    """Takes messages when it is let; says how many came with each request."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.may_answer = threading.Event()
        self.error: Exception | None = None

    def publish(self, _topic: str, batch: list[object]) -> None:
        self.requests.append(len(batch))
        self.may_answer.wait(20)
        if self.error is not None:
            raise self.error


@pytest.fixture
def slow_pubsub(monkeypatch: pytest.MonkeyPatch) -> SlowPubSub:
    slow = SlowPubSub()
    monkeypatch.setattr(Publisher, "publish", slow.publish)
    runtime().publisher.breaker.reset()
    return slow


@pytest.fixture
def ringer(monkeypatch: pytest.MonkeyPatch, slow_pubsub: SlowPubSub) -> Iterator[Ringer]:
    """A thread of the test's own, in the place of the process's."""
    own = Ringer()
    monkeypatch.setattr(ringing, "_ringer", own)
    monkeypatch.setattr(ringing, "ring", own.ring)
    yield own
    slow_pubsub.may_answer.set()
    assert own.flush(20)


def test_a_call_does_not_wait_for_pubsub(ringer, slow_pubsub):
    began = time.monotonic()
    tasks.add.delay(1, 2)

    assert time.monotonic() - began < 5
    wait_until(lambda: slow_pubsub.requests == [1])


def test_what_is_committed_while_pubsub_answers_goes_with_the_next_request(ringer, slow_pubsub):
    tasks.add.delay(1, 2)
    wait_until(lambda: slow_pubsub.requests == [1])
    for _ in range(5):
        tasks.add.delay(1, 2)
    slow_pubsub.may_answer.set()

    assert ringer.flush(20)
    assert slow_pubsub.requests == [1, 5]


def test_nothing_rings_before_the_commit_nor_after_a_rollback(ringer, slow_pubsub):
    slow_pubsub.may_answer.set()
    with transaction.atomic():
        tasks.add.delay(1, 2)
        assert ringer.flush(20)
        assert slow_pubsub.requests == []
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.add.delay(1, 2)
        1 / 0  # noqa: B018

    assert ringer.flush(20)
    assert slow_pubsub.requests == [1]


def seconds_of_bells(count: int, *, in_savepoints: bool) -> float:
    """Processor time to register bells beside other hooks, in a transaction that does nothing else."""
    bell = Envelope(try_id=7, execution_id=uuid7(), queue_name="default")
    with transaction.atomic():
        began = time.thread_time()
        for number in range(count):
            if in_savepoints:  # as Django keeps them, without its round trips
                connection.savepoint_ids.append(f"s{number}")
            transaction.on_commit(int)
            publish_on_commit([bell])
            if in_savepoints:
                connection.savepoint_ids.pop()
        seconds = time.thread_time() - began
        transaction.set_rollback(True)
    return seconds


@pytest.mark.parametrize("in_savepoints", [False, True])
def test_a_bell_costs_the_same_however_many_hooks_its_transaction_has(in_savepoints):
    few = min(seconds_of_bells(200, in_savepoints=in_savepoints) for _ in range(3))
    many = min(seconds_of_bells(2_000, in_savepoints=in_savepoints) for _ in range(2))

    assert many < 30 * few


def test_what_pubsub_does_not_take_is_left_to_the_relay_at_once(ringer, slow_pubsub):
    slow_pubsub.error = PubSubUnavailable("away")
    slow_pubsub.may_answer.set()
    handle = tasks.add.delay(1, 2)

    assert ringer.flush(20)
    (attempt,) = messages.tries(handle)
    assert attempt.publish_count == 0
    assert attempt.next_publish_at < attempt.asked_at + timedelta(seconds=10)


def test_waiting_for_the_bells_ends_in_time(ringer, slow_pubsub):
    tasks.add.delay(1, 2)

    assert not ringer.flush(0.01)


def test_waiting_for_the_bells_is_not_kept_by_those_that_come_later(ringer, slow_pubsub):
    tasks.add.delay(1, 2)
    wait_until(lambda: slow_pubsub.requests == [1])
    waited = threading.Thread(target=ringer.flush, args=(20,))
    waited.start()
    time.sleep(0.05)
    tasks.add.delay(1, 2)
    slow_pubsub.may_answer.set()

    waited.join(10)
    assert not waited.is_alive()


def test_the_end_of_a_request_waits_for_its_bells(ringer, slow_pubsub):
    tasks.add.delay(1, 2)
    threading.Timer(0.05, slow_pubsub.may_answer.set).start()
    request_finished.send(sender=None)

    assert ringer.flush(0)


def test_a_caller_who_is_too_fast_rings_himself(ringer, slow_pubsub, monkeypatch):
    monkeypatch.setattr(ringing, "MOST_PENDING", 2)
    tasks.add.delay(1, 2)
    wait_until(lambda: slow_pubsub.requests == [1])
    tasks.add.delay(1, 2)
    threading.Timer(0.05, slow_pubsub.may_answer.set).start()
    tasks.add.delay(1, 2)

    assert slow_pubsub.requests[:2] == [1, 1]


def test_a_forked_child_rings_for_its_own_calls_only(ringer, slow_pubsub):
    tasks.add.delay(1, 2)
    wait_until(lambda: slow_pubsub.requests == [1])
    bell = Envelope(try_id=7, execution_id=uuid7(), queue_name="default")
    child = os.fork()
    if child == 0:
        slow_pubsub.may_answer.set()
        ringer.ring([bell, bell])
        os._exit(0 if ringer.flush(10) and slow_pubsub.requests == [1, 2] else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def count_of_bells(script: str, database: databases.Database, pubsub: PubSubConfig) -> int:
    """How many bells have rung when a process of its own has run the script."""
    declare()
    surroundings = {"TEST_PUBSUB": pubsub.host, "TEST_PROJECT": pubsub.project_id}
    environment = databases.environment(database, **surroundings)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)

    source = DeclaredFirst(runtime(), runtime().queue("heavy"))
    source.declare()
    return len(source.pull(10, timeout=5.0))


CALL_AND_LEAVE = """
import django
django.setup()
from project import tasks
tasks.add_heavy.delay(1, 2)
"""


def test_a_process_that_ends_at_once_has_rung(database, embedded_pubsub):
    assert count_of_bells(CALL_AND_LEAVE, database, embedded_pubsub) == 1


CALL_IN_A_CHILD = """
import multiprocessing
import django
django.setup()
from project import tasks
if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=lambda: tasks.add_heavy.delay(1, 2))
    child.start()
    child.join()
"""


def test_a_child_of_multiprocessing_has_rung_when_it_ends(database, embedded_pubsub):
    assert count_of_bells(CALL_IN_A_CHILD, database, embedded_pubsub) == 1


CALL_IN_THE_LAST_EXIT_HANDLER = """
import atexit
@atexit.register
def say_goodbye():
    tasks.add_heavy.delay(3, 4)
import django
django.setup()
from project import tasks
tasks.add_heavy.delay(1, 2)
"""

CALL_IN_A_THREAD_THAT_OUTLIVES_ITS_CHILD = """
import multiprocessing
import threading
import time
import django
django.setup()
from project import tasks
def call_later():
    time.sleep(1)
    tasks.add_heavy.delay(3, 4)
def call():
    tasks.add_heavy.delay(1, 2)
    threading.Thread(target=call_later).start()
if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join()
"""


@pytest.mark.parametrize("script", [CALL_IN_THE_LAST_EXIT_HANDLER, CALL_IN_A_THREAD_THAT_OUTLIVES_ITS_CHILD])
def test_who_calls_while_the_process_ends_has_rung(script, database, embedded_pubsub):
    assert count_of_bells(script, database, embedded_pubsub) == 2


def test_a_mistake_of_ours_does_not_pass_for_having_rung(monkeypatch):
    def break_down(*_given: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(ringing, "publish", break_down)
    handle = tasks.add.delay(1, 2)

    assert messages.tries(handle)[0].publish_count == 0
