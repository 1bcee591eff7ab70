"""Batches that form by themselves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from i3tasks_core.gatherer import Gatherer
from waiting import wait_until


class Bench:
    """A gatherer whose handler waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.gatherer = Gatherer(self._handle, most=3, rest=0.0, name="bench")

    def _handle(self, batch: list[int]) -> None:
        self.batches.append(batch)
        self.may_go_on.wait(20)
        if 13 in batch:
            raise ValueError("thirteen")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.gatherer.start()
    yield made
    made.may_go_on.set()
    made.gatherer.close(20)


def test_the_first_item_waits_for_nobody(bench):
    bench.gatherer.put(1)

    wait_until(lambda: bench.batches == [[1]])


def test_what_comes_meanwhile_is_handled_together_and_in_order(bench):
    bench.gatherer.put(1)
    wait_until(lambda: bench.batches == [[1]])
    for item in (2, 3, 4, 5):
        bench.gatherer.put(item)
    bench.may_go_on.set()

    wait_until(lambda: bench.batches == [[1], [2, 3, 4], [5]])


def test_a_batch_that_fails_is_logged_and_costs_no_other(bench, caplog):
    bench.may_go_on.set()
    with caplog.at_level(logging.ERROR, "i3tasks"):
        bench.gatherer.put(13)
        wait_until(lambda: bench.batches == [[13]])
        bench.gatherer.put(1)
        wait_until(lambda: bench.batches == [[13], [1]])

    assert [record.event for record in caplog.records] == ["uncaught"]


def test_closing_waits_for_what_is_there(bench):
    bench.gatherer.put(1)
    wait_until(lambda: bench.batches == [[1]])
    bench.gatherer.put(2)
    threading.Timer(0.05, bench.may_go_on.set).start()
    bench.gatherer.close(20)

    assert bench.batches == [[1], [2]]


def test_closing_one_that_hangs_ends_in_time(bench):
    bench.gatherer.put(1)
    wait_until(lambda: bench.batches == [[1]])

    bench.gatherer.close(0.01)


def test_one_that_was_never_started_can_be_closed():
    Gatherer(print, most=1, rest=0.0, name="bench").close(20)


def test_those_who_come_one_after_the_other_share_a_batch():
    batches: list[list[int]] = []
    gatherer: Gatherer[int] = Gatherer(batches.append, most=100, rest=0.2, name="bench")
    gatherer.start()
    gatherer.put(1)
    wait_until(lambda: batches == [[1]])
    for item in (2, 3, 4):
        gatherer.put(item)

    gatherer.close(20)
    assert batches == [[1], [2, 3, 4]]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([1, 2, 3, 4], [[5, 6]]),
        # Or a trickle whose pace lets two come within the longer rest would share it from then on.
        ([1, 2], [[5], [6]]),
    ],
)
def test_after_much_company_it_rests_longer(first, then):
    batches: list[list[int]] = []
    gatherer: Gatherer[int] = Gatherer(batches.append, most=100, rest=0.0, longer_rest=1.0, name="bench")
    for item in first:
        gatherer.put(item)
    gatherer.start()
    wait_until(lambda: batches == [first])
    gatherer.put(5)
    time.sleep(0.05)  # long enough for one that does not rest to take it alone
    gatherer.put(6)

    gatherer.close(20)
    assert batches == [first, *then]
