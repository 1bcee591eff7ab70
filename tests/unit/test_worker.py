"""The real pull loop between a source and a delivery of the test's own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from core_values import make_claim

from i3tasks_core import outcome
from i3tasks_core import worker as module
from i3tasks_core.claim import Claim
from i3tasks_core.errors import PubSubError, PubSubMissing, PubSubUnavailable
from i3tasks_core.finish import Finish
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_core.worker import Admission, Worker
from waiting import wait_until


def message(number: int) -> Received:
    return Received(f"ack{number}", f"m{number}", b"", {"number": str(number)})


class FakeSource:
    """A subscription: its pull waits for messages, and ends when it is closed."""

    def __init__(self) -> None:
        self.answers: queue.Queue[Any] = queue.Queue()
        self.asked: list[int] = []
        self.acknowledged: list[str] = []
        self.acknowledge_error: Exception | None = None
        self.ends_when_closed = True

    def give(self, *numbers: int) -> None:
        self.answers.put([message(number) for number in numbers])

    def fail(self, error: Exception) -> None:
        self.answers.put(error)

    def pull(self, max_messages: int, timeout: float) -> list[Received]:
        assert timeout == module.LONG_POLL
        self.asked.append(max_messages)
        answer = self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        if self.acknowledge_error is not None:
            raise self.acknowledge_error
        self.acknowledged.extend(ack_ids)

    def close(self) -> None:
        if self.ends_when_closed:
            self.answers.put([])


class FakeDelivery:
    """Claims every message; its tasks run until they are let go."""

    def __init__(self) -> None:
        self.admitted: list[list[int]] = []
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.released: list[int] = []
        self.admit_errors: list[Exception] = []
        self.refused: set[int] = set()
        self.during_admit: Callable[[], object] = lambda: None
        self.release_error: Exception | None = None
        self.settle_error: Exception | None = None
        self.settled_at_once: set[int] = set()
        self.settling: list[list[int]] = []
        self.settled: list[int] = []
        self.blocked: set[int] = set()
        self.may_settle = threading.Event()
        self.may_settle.set()
        self.go = threading.Event()

    def admit(self, messages: Sequence[Received]) -> Admission:
        numbers = [int(received.attributes["number"]) for received in messages]
        self.admitted.append(numbers)
        if self.admit_errors:
            raise self.admit_errors.pop(0)
        self.during_admit()
        claims = [make_claim(try_id=number) for number in numbers if number not in self.refused]
        return Admission(claims=claims, consumed=[received.ack_id for received in messages])

    def run(self, claim: Claim) -> Finish | None:
        self.begun.append(claim.try_id)
        self.go.wait(20)
        self.ended.append(claim.try_id)
        return None if claim.try_id in self.settled_at_once else Finish(claim, outcome.succeeded(None))

    def settle(self, finishes: Sequence[Finish]) -> Sequence[Finish]:
        self.settling.append([finish.claim.try_id for finish in finishes])
        self.may_settle.wait(20)
        if self.settle_error is not None:
            raise self.settle_error
        self.settled.extend(number for number in self.settling[-1] if number not in self.blocked)
        return [finish for finish in finishes if finish.claim.try_id in self.blocked]

    def release(self, claims: Sequence[Claim]) -> None:
        if self.release_error is not None:
            raise self.release_error
        self.released.extend(claim.try_id for claim in claims)


class AsManyAhead:
    """A pace that never changes."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def saw(self, seconds: float) -> None: ...


class Bench:
    def __init__(self, concurrency: int) -> None:
        self.source, self.delivery = FakeSource(), FakeDelivery()
        self.redeclared = 0
        self.worker = Worker(
            source=self.source,
            delivery=self.delivery,
            queue_name="heavy",
            concurrency=concurrency,
            redeclare=self.redeclare,
        )

    def redeclare(self) -> None:
        self.redeclared += 1

    def wait_for_pull(self, number: int) -> None:
        """Until the source was asked for the ``number``-th time."""
        wait_until(lambda: len(self.source.asked) >= number)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    monkeypatch.setattr(module, "_BACKOFF", (0.001, 0.002))
    made: list[Bench] = []

    def make(concurrency: int = 2) -> Bench:
        bench = Bench(concurrency)
        made.append(bench)
        bench.worker.start()
        return bench

    yield make
    for bench in made:
        bench.delivery.go.set()
        bench.delivery.may_settle.set()
        bench.source.answers.put([])
        bench.worker.stop(grace=5)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records if hasattr(record, "event")]


# --- the loop


def test_a_message_is_claimed_run_and_acknowledged(start):
    bench = start()
    bench.delivery.go.set()
    bench.source.give(1)

    wait_until(lambda: bench.delivery.ended == [1])
    wait_until(lambda: bench.source.acknowledged == ["ack1"])


def test_it_asks_for_as_many_messages_as_there_are_free_slots(start):
    bench = start(concurrency=3)
    bench.wait_for_pull(1)
    bench.source.give(1)
    bench.wait_for_pull(2)
    bench.source.give(2)
    bench.wait_for_pull(3)

    assert bench.source.asked == [3, 2, 1]


def test_it_asks_for_nothing_while_every_slot_is_taken(start):
    bench = start(concurrency=2)
    bench.source.give(1, 2)
    wait_until(lambda: len(bench.delivery.begun) == 2)
    bench.source.give(3)

    assert bench.source.asked == [2]
    bench.delivery.go.set()
    wait_until(lambda: 3 in bench.delivery.ended)


def test_after_short_tries_it_asks_for_what_will_start_soon(start):
    bench = start(concurrency=2)
    bench.delivery.go.set()
    for number in range(200):
        bench.source.give(number)
    wait_until(lambda: len(bench.delivery.ended) == 200)

    assert bench.source.asked[0] == 2
    assert max(bench.source.asked) > 20
    assert sorted(bench.delivery.ended) == list(range(200))


def test_it_asks_again_when_half_of_what_may_wait_has_started(start):
    bench = start(concurrency=1)
    bench.worker._pace = AsManyAhead(10)
    bench.source.give(*range(11))
    bench.wait_for_pull(1)
    wait_until(lambda: bench.delivery.begun == [0])

    assert bench.source.asked == [1]
    bench.delivery.go.set()
    bench.wait_for_pull(2)
    assert 5 <= bench.source.asked[1] <= 11


def test_it_claims_nothing_more_while_too_many_ends_are_unwritten(start, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNSETTLED", 3)
    bench = start(concurrency=4)
    bench.delivery.go.set()
    bench.delivery.may_settle.clear()
    bench.source.give(1, 2, 3, 4)
    wait_until(lambda: len(bench.delivery.ended) == 4)
    bench.source.give(5)

    assert bench.source.asked == [4]
    bench.delivery.may_settle.set()
    wait_until(lambda: bench.delivery.settled == [1, 2, 3, 4, 5])


def test_what_ends_while_an_end_is_being_written_is_written_together(start):
    bench = start(concurrency=3)
    bench.delivery.may_settle.clear()
    bench.source.give(1)
    bench.delivery.go.set()
    wait_until(lambda: bench.delivery.settling == [[1]])
    bench.source.give(2, 3)
    wait_until(lambda: len(bench.delivery.ended) == 3)
    bench.delivery.may_settle.set()

    wait_until(lambda: len(bench.delivery.settled) == 3)
    assert [sorted(batch) for batch in bench.delivery.settling] == [[1], [2, 3]]


def test_what_somebody_keeps_from_being_written_is_handed_in_again_and_holds_up_no_others(start, monkeypatch):
    monkeypatch.setattr(module, "STALL", 0.02)
    bench = start(concurrency=1)
    bench.delivery.blocked = {1}
    bench.delivery.go.set()
    bench.source.give(1)
    wait_until(lambda: len(bench.delivery.settling) > 2)
    bench.source.give(2)
    wait_until(lambda: bench.delivery.settled == [2])

    bench.delivery.blocked = set()
    wait_until(lambda: bench.delivery.settled == [2, 1])


def test_what_has_no_end_left_to_write_is_not_handed_on(start):
    bench = start()
    bench.delivery.settled_at_once = {1}
    bench.delivery.go.set()
    bench.source.give(1, 2)

    wait_until(lambda: bench.delivery.settled == [2])
    assert bench.worker.stop(grace=20) == 0


def test_what_waits_behind_long_tries_is_handed_back(start, monkeypatch):
    monkeypatch.setattr(module, "STALL", 0.05)
    bench = start(concurrency=1)
    bench.source.give(1, 2, 3)  # more than were asked for

    wait_until(lambda: bench.delivery.released == [2, 3])
    assert bench.delivery.begun == [1]


def test_a_message_is_acknowledged_once_claimed_although_its_task_still_runs(start):
    bench = start()
    bench.source.give(1)

    wait_until(lambda: bench.source.acknowledged == ["ack1"])
    assert bench.delivery.ended == []


def test_a_message_that_is_nobodys_turn_is_acknowledged_and_takes_no_slot(start):
    bench = start(concurrency=2)
    bench.delivery.refused = {1}
    bench.source.give(1)
    bench.wait_for_pull(2)

    wait_until(lambda: bench.source.acknowledged == ["ack1"])
    assert bench.source.asked == [2, 2]


def test_an_empty_answer_means_again(start):
    bench = start()
    bench.source.give()
    bench.source.give()
    bench.wait_for_pull(3)

    assert bench.delivery.admitted == []


# --- trouble


@pytest.mark.parametrize("error", [PubSubUnavailable("away"), PubSubError("refused")])
def test_it_survives_errors_of_the_source(start, caplog, error):
    bench = start()
    bench.delivery.go.set()
    with caplog.at_level(logging.WARNING, "i3tasks"):
        for _ in range(5):
            bench.source.fail(error)
        bench.source.give(1)
        wait_until(lambda: bench.delivery.ended == [1])

    assert logged(caplog).count("pull_failed") == 5
    assert bench.redeclared == 0
    assert bench.worker.is_alive()


def test_a_missing_subscription_is_declared_again(start):
    bench = start()
    bench.source.fail(PubSubMissing("gone"))
    bench.wait_for_pull(2)

    assert bench.redeclared == 1


def test_a_batch_that_could_not_be_claimed_is_tried_again(start, caplog):
    bench = start()
    bench.delivery.go.set()
    bench.delivery.admit_errors = [ConnectionError("the database is away"), ValueError("a bug")]
    with caplog.at_level(logging.ERROR, "i3tasks"):
        bench.source.give(1)
        wait_until(lambda: bench.delivery.ended == [1])

    assert bench.delivery.admitted == [[1]] * 3
    assert logged(caplog).count("claim_failed") == 2


def test_a_batch_that_can_never_be_claimed_is_left_to_redelivery(start, monkeypatch):
    monkeypatch.setattr(module, "_CLAIM_PATIENCE", 0.05)
    bench = start()
    bench.delivery.admit_errors = [ValueError("a bug")] * 100_000
    bench.source.give(1)
    bench.wait_for_pull(2)

    assert bench.source.acknowledged == []
    assert bench.worker.is_alive()


def test_it_survives_a_failed_acknowledgement(start, caplog):
    bench = start()
    bench.delivery.go.set()
    bench.source.acknowledge_error = PubSubUnavailable("away")
    with caplog.at_level(logging.WARNING, "i3tasks"):
        bench.source.give(1)
        wait_until(lambda: "acknowledge_failed" in logged(caplog))
    bench.source.acknowledge_error = None
    bench.source.give(2)

    wait_until(lambda: bench.source.acknowledged == ["ack2"])
    wait_until(lambda: sorted(bench.delivery.ended) == [1, 2])


def test_a_run_that_raises_frees_its_slot(start):
    bench = start(concurrency=1)
    bench.delivery.run = lambda claim: 1 // 0
    bench.source.give(1)
    bench.wait_for_pull(2)

    assert bench.source.asked == [1, 2]  # it took no time


@pytest.mark.parametrize("failures", [0, 1, 5, 50, 10_000])
def test_the_pause_after_failures_is_bounded(failures):
    least, most = module._BACKOFF

    assert least / 2 <= module._backoff(failures) <= most


def test_a_settle_that_raises_is_logged_and_costs_no_slot(start, caplog):
    bench = start(concurrency=1)
    bench.delivery.go.set()
    bench.delivery.settle_error = ValueError("a bug")
    with caplog.at_level(logging.ERROR, "i3tasks"):
        bench.source.give(1)
        wait_until(lambda: "uncaught" in logged(caplog))
    bench.delivery.settle_error = None
    bench.source.give(2)

    wait_until(lambda: bench.delivery.settled == [2])
    assert bench.worker.stop(grace=20) == 0


# --- the end


def test_it_ends_when_everything_is_written(start):
    bench = start()
    bench.delivery.go.set()
    bench.delivery.may_settle.clear()
    bench.source.give(1)
    wait_until(lambda: bench.delivery.settling == [[1]])
    threading.Timer(0.05, bench.delivery.may_settle.set).start()

    assert bench.worker.stop(grace=60) == 0
    assert bench.delivery.settled == [1]


def test_an_end_that_could_not_be_written_within_the_grace_is_counted(start):
    bench = start()
    bench.delivery.go.set()
    bench.delivery.may_settle.clear()
    bench.source.give(1)
    wait_until(lambda: bench.delivery.settling == [[1]])

    assert bench.worker.stop(grace=0.05) == 1


def test_it_goes_on_handing_in_what_is_kept_from_being_written_until_its_grace_is_over(start, monkeypatch):
    monkeypatch.setattr(module, "STALL", 0.02)
    bench = start(concurrency=2)
    bench.delivery.blocked = {1, 2}
    bench.delivery.go.set()
    bench.source.give(1, 2)
    wait_until(lambda: len(bench.delivery.settling) > 2)
    threading.Timer(0.05, bench.delivery.blocked.discard, [1]).start()

    assert bench.worker.stop(grace=0.5) == 1
    assert bench.delivery.settled == [1]


def test_idle_it_stops_at_once(start):
    bench = start()
    bench.wait_for_pull(1)
    began = time.monotonic()

    assert bench.worker.stop(grace=60) == 0
    assert time.monotonic() - began < 30
    assert not bench.worker.is_alive()


def test_with_every_slot_taken_it_stops_as_soon_as_the_tasks_end(start):
    bench = start(concurrency=1)
    bench.source.give(1)
    wait_until(lambda: bench.delivery.begun == [1])
    threading.Timer(0.05, bench.delivery.go.set).start()

    assert bench.worker.stop(grace=60) == 0
    assert bench.delivery.ended == [1]
    assert bench.source.asked == [1]


def test_what_still_runs_after_the_grace_is_counted_and_not_released(start):
    bench = start(concurrency=2)
    bench.source.give(1, 2)
    wait_until(lambda: len(bench.delivery.begun) == 2)

    assert bench.worker.stop(grace=0.05) == 2
    assert bench.delivery.released == []


def test_what_has_not_started_is_released_and_what_runs_ends(start):
    bench = start(concurrency=1)
    bench.source.give(1, 2, 3)  # more than were asked for
    wait_until(lambda: bench.delivery.begun == [1])
    wait_until(lambda: len(bench.source.acknowledged) == 3)
    threading.Timer(0.05, bench.delivery.go.set).start()

    assert bench.worker.stop(grace=60) == 0
    assert bench.delivery.released == [2, 3]
    assert bench.delivery.ended == [1]


def test_what_is_claimed_while_it_stops_is_released(start):
    bench = start(concurrency=2)
    bench.delivery.during_admit = bench.worker._stopping.set
    bench.source.give(1, 2)
    wait_until(lambda: bench.delivery.released == [1, 2])

    assert bench.delivery.begun == []
    assert bench.worker.stop(grace=60) == 0


def test_claiming_that_outlasts_the_grace_releases_what_it_got(start):
    bench = start()
    entered, leave = threading.Event(), threading.Event()
    bench.delivery.during_admit = lambda: entered.set() or leave.wait(20)
    bench.source.give(1)
    entered.wait(20)
    threading.Timer(0.1, leave.set).start()

    assert bench.worker.stop(grace=0.0) == 0
    assert bench.delivery.released == [1]
    assert bench.delivery.begun == []


def test_claiming_that_does_not_end_is_counted(start, monkeypatch):
    monkeypatch.setattr(module, "_LAST_CLAIM", 0.05)
    bench = start()
    entered, leave = threading.Event(), threading.Event()
    bench.delivery.during_admit = lambda: entered.set() or leave.wait(20)
    bench.source.give(1)
    entered.wait(20)

    assert bench.worker.stop(grace=0.0) == 1
    leave.set()
    wait_until(lambda: bench.delivery.released == [1])


def test_a_pull_that_hangs_does_not_keep_it_from_stopping(start):
    bench = start()
    bench.source.ends_when_closed = False
    bench.wait_for_pull(1)

    assert bench.worker.stop(grace=0.05) == 0
    assert bench.worker.is_alive()  # a daemon thread: the process's end takes it along


def test_a_batch_that_cannot_be_claimed_does_not_keep_it_from_stopping(start):
    bench = start()
    bench.delivery.admit_errors = [ConnectionError("the database is away")] * 100_000
    bench.source.give(1)
    wait_until(lambda: len(bench.delivery.admitted) > 2)

    assert bench.worker.stop(grace=60) == 0
    assert not bench.worker.is_alive()
    assert bench.source.acknowledged == []


def test_a_release_that_fails_costs_what_runs_no_grace(start, caplog):
    bench = start(concurrency=1)
    bench.delivery.release_error = ConnectionError("the database is away")
    bench.source.give(1, 2)
    wait_until(lambda: len(bench.source.acknowledged) == 2)
    threading.Timer(0.05, bench.delivery.go.set).start()
    with caplog.at_level(logging.ERROR, "i3tasks"):
        assert bench.worker.stop(grace=60) == 0

    assert bench.delivery.ended == [1]
    assert "release_failed" in logged(caplog)


def test_it_can_be_stopped_before_it_was_started():
    assert Bench(1).worker.stop(grace=60) == 0


def test_it_can_be_stopped_twice(start):
    bench = start()
    bench.worker.stop(grace=60)

    assert bench.worker.stop(grace=60) == 0
