"""One thread does for many what each asks for."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from i3tasks_core.sharing import Shared
from waiting import wait_until


class Bench:
    """Doubles numbers when it is let, and remembers which it was given together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.unwanted: list[int] = []
        self.shared = Shared(self._double, most=3, name="bench", unwanted=self.unwanted.append)

    def _double(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        self.may_go_on.wait(20)
        if -1 in numbers:
            raise ValueError("negative")
        return [2 * number for number in numbers]

    def ask(self, number: int) -> int:
        return self.shared(number, 20.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_each_gets_its_own_result(bench):
    bench.may_go_on.set()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(bench.ask, range(100))) == [2 * number for number in range(100)]


def test_those_who_ask_meanwhile_are_served_together(bench):
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(bench.ask, 1)
        wait_until(lambda: bench.batches == [[1]])
        others = [pool.submit(bench.ask, number) for number in (2, 3, 4)]
        wait_until(lambda: bench.shared._gatherer._items.qsize() == 3)
        bench.may_go_on.set()

        assert [future.result(20) for future in (first, *others)] == [2, 4, 6, 8]
    assert [sorted(batch) for batch in bench.batches] == [[1], [2, 3, 4]]


def test_an_error_reaches_everybody_it_concerns_and_nobody_else(bench):
    bench.may_go_on.set()
    with pytest.raises(ValueError, match="negative"):
        bench.ask(-1)

    assert bench.ask(1) == 2


def test_what_has_not_begun_in_time_never_will(bench):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bench.ask, 1)
        wait_until(lambda: bench.batches == [[1]])
        with pytest.raises(TimeoutError):
            bench.shared(2, 0.01)
        bench.may_go_on.set()
        first.result(20)

    assert bench.ask(3) == 6
    assert bench.batches == [[1], [3]]


def test_what_comes_too_late_is_not_lost(bench):
    with pytest.raises(TimeoutError):
        bench.shared(1, 0.05)
    with pytest.raises(TimeoutError):
        bench.shared(-1, 0.05)  # waits in line, and never begins
    assert bench.unwanted == []
    bench.may_go_on.set()

    wait_until(lambda: bench.unwanted == [2])
    assert bench.ask(3) == 6
    assert bench.batches == [[1], [3]]


def test_an_error_that_comes_too_late_is_nobodys(bench):
    with pytest.raises(TimeoutError):
        bench.shared(-1, 0.05)
    bench.may_go_on.set()

    assert bench.ask(3) == 6
    assert bench.unwanted == []


def test_a_forked_child_has_a_thread_of_its_own(bench):
    bench.may_go_on.set()
    bench.ask(1)
    child = os.fork()
    if child == 0:
        os._exit(0 if bench.ask(2) == 4 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
