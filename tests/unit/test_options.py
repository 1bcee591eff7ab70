"""The options of a task and of a call are checked where they are written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from i3tasks_core import options
from i3tasks_core.retry import RetryPolicy


@pytest.mark.parametrize("given", [timedelta(hours=1), 3600, 3600.0])
def test_a_delay_is_a_duration_or_seconds(given: Any):
    assert options.run_after(given) == timedelta(hours=1)


def test_a_moment_stays_as_it_is():
    moment = datetime.now(UTC) + timedelta(days=1)

    assert options.run_after(moment) is moment


@pytest.mark.parametrize("given", [-5, timedelta(days=-1), -(10**30)])
def test_a_delay_that_is_over_means_at_once(given: Any):
    assert options.run_after(given) == timedelta(0)


@pytest.mark.parametrize(
    "given", ["1 hour", True, False, float("nan"), float("inf"), date(2030, 1, 1), object(), b""]
)
def test_what_is_neither_a_moment_nor_a_duration_is_refused(given: Any):
    with pytest.raises(TypeError, match=r"run_after=.*write an aware datetime, a timedelta or seconds"):
        options.run_after(given)


@pytest.mark.parametrize("given", [timedelta.max, 10**30, datetime.max.replace(tzinfo=UTC)])
def test_what_is_centuries_away_is_refused(given: Any):
    with pytest.raises(ValueError, match="call nearer the time"):
        options.run_after(given)


@pytest.mark.parametrize("given", [0, -1, timedelta(0), "30", True, float("nan"), float("inf"), b"1"])
def test_a_timeout_is_a_positive_duration(given: Any):
    with pytest.raises(
        ValueError, match=r"timeout=.*write a positive timedelta or number of seconds, or None"
    ):
        options.timeout(given)


@pytest.mark.parametrize("given", [-1, True, 1.5, "3", 2**40])
def test_retries_are_a_whole_number_in_range(given: Any):
    with pytest.raises(ValueError, match=r"max_retries=.*write a whole number from 0 to 1,000,000, or None"):
        options.max_retries(given)


@pytest.mark.parametrize("given", [5, None, timedelta(1), RetryPolicy])
def test_a_retry_policy_is_one(given: Any):
    with pytest.raises(TypeError, match=r"retry=.*write RetryPolicy"):
        options.retry(given)


@pytest.mark.parametrize("given", [None, 5, "", ["x"]])
def test_a_queue_has_a_name(given: Any):
    with pytest.raises(TypeError, match=r"queue_name=.*write the name of a queue"):
        options.queue_name(given)


@pytest.mark.parametrize("given", ["no", 1, None])
def test_a_flag_is_true_or_false(given: Any):
    with pytest.raises(TypeError, match=r"atomic=.*write True or False"):
        options.flag("atomic", given)


def test_sound_options_come_back():
    policy = RetryPolicy()

    assert options.timeout(None) is None
    assert options.timeout(1.5) == timedelta(seconds=1.5)
    assert options.max_retries(None) is None
    assert options.max_retries(0) == 0
    assert options.retry(policy) is policy
    assert options.queue_name("heavy") == "heavy"
    assert options.flag("bind", False) is False
