"""A block is interrupted when its time is over, and nothing after it ever is.

These tests use real time, because what they are about is a race with it; none asserts a duration.
"""

from __future__ import annotations

import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from i3tasks_core import deadline
from i3tasks_core.deadline import within
from i3tasks_core.errors import TaskTimeout
from waiting import wait_until

SHORT = timedelta(milliseconds=20)
LONG = timedelta(minutes=5)


def spin(seconds: float = 60.0) -> None:
    """Python code only, so that it can be interrupted anywhere."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.fixture
def nervous() -> Iterator[None]:
    """Threads take turns far more often than usual, so that races happen."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(count: int, work: Callable[[], object]) -> None:
    """Run it in threads, all at once, and see that none of them hangs or is ended by an exception."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors


def assert_fires() -> None:
    with pytest.raises(TaskTimeout), within(SHORT):
        spin()


def test_a_busy_loop_is_interrupted():
    assert_fires()


def test_the_error_tells_the_timeout():
    with pytest.raises(TaskTimeout) as caught, within(SHORT):
        spin()
    assert str(caught.value) == "ran longer than its timeout of 0.02 s"


def test_a_block_within_its_time_is_left_alone():
    with within(LONG):
        assert True


def test_without_a_timeout_nothing_is_watched():
    with within(None):
        spin(0.001)


def test_except_exception_in_the_block_does_not_swallow_it():
    def stubborn():
        while True:
            with suppress(Exception):
                spin()

    with pytest.raises(TaskTimeout), within(SHORT):
        stubborn()


def test_an_error_of_the_block_passes_unchanged():
    with pytest.raises(ValueError, match="mine"), within(LONG):
        raise ValueError("mine")


def test_a_timeout_that_the_block_itself_raises_keeps_its_text():
    with pytest.raises(TaskTimeout) as caught, within(LONG):
        raise TaskTimeout(timedelta(seconds=3))
    assert str(caught.value) == "ran longer than its timeout of 3 s"


def test_a_block_that_swallows_its_timeout_ends_as_it_likes():
    done = False
    with within(SHORT):
        try:
            spin()
        except TaskTimeout:
            done = True
    spin(0.01)
    assert done


def test_a_blocking_call_is_interrupted_when_it_comes_back():
    came_back = False
    with pytest.raises(TaskTimeout), within(SHORT):
        threading.Event().wait(0.1)
        came_back = True
        spin()
    assert came_back in (True, False)  # interrupted on its way back or just after, but interrupted


# --- the race


def race(rounds: int, block: Callable[[], None]) -> Callable[[], None]:
    """Run a block that ends as it is interrupted, and something innocent after it, many times."""

    def rounds_of_it() -> None:
        for _ in range(rounds):
            with suppress(TaskTimeout):
                block()
            spin(50e-6)  # outside: a TaskTimeout in here would end the thread
        spin(0.02)

    return rounds_of_it


def test_nothing_after_the_block_is_interrupted_however_close_the_race(nervous):
    def block():
        with within(timedelta(microseconds=400)):
            spin(400e-6 + random.uniform(-60e-6, 30e-6))

    in_threads(1, race(400, block))


def test_the_watchdog_outlives_blocks_that_end_as_it_fires(nervous):
    """The exception arrives in the watched thread while that thread is busy ending its block."""

    def block():
        with within(timedelta(microseconds=500)):
            spin(500e-6 + random.uniform(-30e-6, 30e-6))

    in_threads(4, race(150, block))

    assert_fires()


def test_nested_blocks_that_end_as_both_fire_leave_nothing_behind(nervous):
    def block():
        with within(timedelta(microseconds=500)):
            with within(timedelta(microseconds=450)):
                spin(450e-6 + random.uniform(-60e-6, 90e-6))
            spin(20e-6)

    in_threads(2, race(150, block))

    assert_fires()


def test_only_the_thread_whose_time_is_over_is_interrupted():
    outcomes = []
    roles = iter(["quick", "patient", "quick", "patient", "quick"])

    def quick():
        try:
            with within(SHORT):
                spin()
        except TaskTimeout:
            outcomes.append("interrupted")

    def patient():
        with within(LONG):
            spin(0.2)
        outcomes.append("finished")

    in_threads(5, lambda: quick() if next(roles) == "quick" else patient())

    assert sorted(outcomes) == ["finished"] * 2 + ["interrupted"] * 3


# --- nesting


def test_the_inner_timeout_fires_first_and_the_outer_block_goes_on():
    with within(LONG):
        with pytest.raises(TaskTimeout, match=r"0\.02 s"), within(SHORT):
            spin()
        reached = True
    assert reached


def test_the_outer_timeout_interrupts_an_inner_block_with_more_time():
    with pytest.raises(TaskTimeout) as caught, within(SHORT), within(LONG):
        spin()
    assert str(caught.value) == "ran longer than its timeout of 0.02 s"


def test_the_outer_timeout_still_fires_after_the_inner_one_was_caught():
    with pytest.raises(TaskTimeout, match=r"0\.5 s"), within(timedelta(seconds=0.5)):
        with pytest.raises(TaskTimeout), within(SHORT):
            spin()
        spin()


def test_both_times_over_in_one_blocking_call_are_not_both_forgotten():
    """Fired by the test: by the clock a pause between the two would let the outer one go first."""

    def fire_both() -> None:
        inner = entered.get()
        for due in (inner, inner.around):
            deadline._watchdog._fire(due)

    entered: queue.SimpleQueue[deadline._Deadline] = queue.SimpleQueue()
    firing = threading.Thread(target=fire_both)
    firing.start()
    passed_the_inner = False
    with pytest.raises(TaskTimeout), within(LONG):
        with within(LONG):
            try:
                entered.put(deadline._watchdog._innermost.deadline)
                firing.join()  # both fire meanwhile, and there is room for one exception
                spin()
            except TaskTimeout:
                pass
        passed_the_inner = True
    assert not passed_the_inner


def test_after_an_outer_timeout_was_swallowed_a_new_block_is_watched_again():
    with within(SHORT):
        try:
            spin()
        except TaskTimeout:
            assert_fires()
    assert_fires()


# --- the watchdog itself


def test_an_absurdly_long_timeout_does_not_end_the_watchdog():
    with within(timedelta.max):
        assert_fires()
    assert_fires()


def test_ended_blocks_do_not_pile_up_until_their_time_would_have_come():
    for _ in range(3 * deadline._SWEEP_AT):
        with within(LONG):
            pass
    wait_until(deadline._watchdog._new.empty)

    assert len(deadline._watchdog._heap) < 2 * deadline._SWEEP_AT


def test_one_thread_watches_for_everybody():
    in_threads(5, assert_fires)

    assert [thread.name for thread in threading.enumerate()].count("i3tasks-deadline") == 1


def test_a_forked_child_has_a_watchdog_of_its_own():
    assert_fires()
    child = os.fork()
    if child == 0:  # no pytest in here: whatever happens, leave by _exit
        try:
            with within(SHORT):
                spin(10.0)
        except TaskTimeout:
            os._exit(42)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 42
    assert_fires()
