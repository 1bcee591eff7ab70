"""How far ahead of its free threads a worker claims."""

from __future__ import annotations

from i3tasks_core.pace import MOST_AHEAD, Pace


def after(*seconds: float, concurrency: int = 4) -> Pace:
    pace = Pace(concurrency)
    for each in seconds:
        pace.saw(each)
    return pace


def test_nothing_is_claimed_ahead_while_nothing_is_known():
    assert Pace(concurrency=8).ahead == 0


def test_long_tries_leave_nothing_to_claim_ahead():
    assert after(*[1.0] * 100).ahead == 0


def test_what_starts_within_a_fifth_of_a_second_is_claimed_ahead():
    assert after(*[0.01] * 100).ahead == 80
    assert after(*[0.01] * 100, concurrency=1).ahead == 20


def test_a_few_short_tries_promise_only_a_few_more():
    assert after(0.0001, 0.0001).ahead == 2


def test_tries_that_take_no_time_have_a_bound_all_the_same():
    assert after(*[0.0] * 5_000).ahead == MOST_AHEAD


def test_one_long_try_among_short_ones_is_felt_at_once_and_forgotten_later():
    pace = after(*[0.001] * 1_000)
    before = pace.ahead
    pace.saw(10.0)

    assert pace.ahead < before / 100
    for _ in range(200):
        pace.saw(0.001)
    assert pace.ahead > before / 2


def test_a_stall_ends_what_was_claimed_ahead_until_tries_are_short_again():
    pace = after(*[0.001] * 1_000)
    pace.stalled(1.5)

    assert pace.ahead == 0
    for _ in range(100):
        pace.saw(0.001)
    assert pace.ahead > 50


def test_after_a_stall_nothing_is_claimed_ahead_however_many_threads_there_are():
    pace = after(*[0.001] * 1_000, concurrency=32)
    pace.stalled(1.2)
    assert pace.ahead == 0

    pace.saw(30.0)
    assert pace.ahead == 0
