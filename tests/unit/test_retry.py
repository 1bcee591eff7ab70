"""When another try follows, and after how long; the dice are the test's own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core.errors import LONGEST_DELAY, Discard, Retry, TaskTimeout
from i3tasks_core.retry import RetryPolicy

POLICY = RetryPolicy(base=timedelta(seconds=5), maximum=timedelta(seconds=60))


def highest(_least: float, most: float) -> float:
    return most


def lowest(least: float, _most: float) -> float:
    return least


@pytest.mark.parametrize(("try_number", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60)])
def test_the_bound_doubles_up_to_the_maximum(try_number, seconds):
    assert POLICY.delay(try_number, highest) == timedelta(seconds=seconds)


@pytest.mark.parametrize("try_number", [1, 2, 10, 1_000])
def test_full_jitter_begins_at_zero(try_number):
    assert POLICY.delay(try_number, lowest) == timedelta(0)


@pytest.mark.parametrize("try_number", [64, 65, 66, 1_024, 10_000, 2**31, 10**30])
def test_a_huge_try_number_waits_the_maximum(try_number):
    assert POLICY.delay(try_number, highest) == POLICY.maximum


@settings(max_examples=100)
@given(
    st.timedeltas(timedelta(microseconds=1), LONGEST_DELAY),
    st.timedeltas(timedelta(0), LONGEST_DELAY),
    st.integers(1, 10_000),
)
def test_no_delay_is_negative_or_above_its_bound(base, more, try_number):
    policy = RetryPolicy(base=base, maximum=min(base + more, LONGEST_DELAY))

    assert timedelta(0) <= policy.delay(try_number) <= policy.maximum


def test_the_dice_are_asked_for_a_number_from_zero_to_the_bound():
    asked = []
    POLICY.delay(2, lambda least, most: asked.append((least, most)) or 3.5)

    assert asked == [(0.0, 10.0)]
    assert POLICY.delay(2, lambda _least, _most: 3.5) == timedelta(seconds=3.5)


def test_two_delays_differ_without_dice_of_ones_own():
    assert len({POLICY.delay(5) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    "error", [ValueError(), SystemExit(), KeyboardInterrupt(), TaskTimeout(), GeneratorExit()]
)
def test_by_default_every_error_deserves_another_try(error):
    assert RetryPolicy().repeats(error)


def test_only_what_retry_for_names_deserves_another_try_with_its_subclasses():
    policy = RetryPolicy(retry_for=(OSError, KeyError))

    assert policy.repeats(ConnectionResetError())
    assert policy.repeats(KeyError())
    assert not policy.repeats(ValueError())


def test_what_no_retry_for_names_wins():
    policy = RetryPolicy(retry_for=(OSError,), no_retry_for=(FileNotFoundError,))

    assert policy.repeats(OSError())
    assert not policy.repeats(FileNotFoundError())


def test_nothing_is_repeated_for_an_empty_retry_for():
    assert not RetryPolicy(retry_for=()).repeats(ValueError())


@pytest.mark.parametrize(
    ("base", "maximum"),
    [
        (timedelta(0), timedelta(1)),
        (timedelta(-1), timedelta(1)),
        (timedelta(2), timedelta(1)),
        (timedelta(1), timedelta(-1)),
        (timedelta(1), timedelta.max),
        (timedelta(1), LONGEST_DELAY + timedelta(microseconds=1)),
    ],
)
def test_durations_out_of_range_are_refused(base, maximum):
    with pytest.raises(ValueError, match="base must be positive"):
        RetryPolicy(base=base, maximum=maximum)


def test_a_base_as_long_as_the_maximum_will_do():
    assert RetryPolicy(base=timedelta(1), maximum=timedelta(1)).delay(1, highest) == timedelta(1)


@pytest.mark.parametrize("name", ["base", "maximum"])
@pytest.mark.parametrize("value", [5, 5.0, "5", None])
def test_a_duration_that_is_no_timedelta_is_refused_by_name(name, value):
    with pytest.raises(TypeError, match=name):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("name", ["retry_for", "no_retry_for"])
@pytest.mark.parametrize(
    "value",
    [ValueError, [ValueError], None, "ValueError", ("ValueError",), (int,), (ValueError(),), ((OSError,),)],
)
def test_classes_are_checked_when_the_task_is_defined_not_when_it_fails(name, value):
    with pytest.raises(TypeError, match=name):
        RetryPolicy(**{name: value})


# --- what a task raises to steer itself


@pytest.mark.parametrize(
    ("after", "delay"),
    [
        (None, None),
        (0, timedelta(0)),
        (1.5, timedelta(seconds=1.5)),
        (timedelta(1), timedelta(1)),
        (LONGEST_DELAY,) * 2,
    ],
)
def test_a_retry_takes_seconds_or_a_timedelta(after, delay):
    assert Retry(after=after).after == delay


@pytest.mark.parametrize(
    "after", [-1, -0.001, timedelta(-1), timedelta.max, LONGEST_DELAY.total_seconds() + 1]
)
def test_a_retry_in_the_past_or_beyond_the_calendar_is_refused(after):
    with pytest.raises(ValueError, match="after="):
        Retry(after=after)


@pytest.mark.parametrize("after", [float("nan"), float("inf"), "5", 10**400])
def test_a_retry_after_nonsense_is_an_error_where_it_is_written(after):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        Retry(after=after)


def test_signals_carry_their_reason_as_text():
    assert str(Retry(reason="the shop is closed")) == "the shop is closed"
    assert str(Discard("no such order")) == "no such order"


def test_a_timeout_is_not_swallowed_by_except_exception():
    assert not issubclass(TaskTimeout, Exception)
