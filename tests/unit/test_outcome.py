"""How a try ended, as text that any database stores, whatever the exception does to prevent it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core import outcome
from i3tasks_core.outcome import Error
from i3tasks_core.payload import MAX_MESSAGE, MAX_TRACEBACK
from i3tasks_core.registry import MAX_NAME
from i3tasks_core.states import TryState


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def described(error, **options):
    made = Error.of(raised(error), **options)
    assert len(made.error_class) <= MAX_NAME == 200  # the column's length
    assert len(made.message) <= MAX_MESSAGE
    assert len(made.traceback) <= MAX_TRACEBACK
    for text in (made.error_class, made.message, made.traceback):
        assert "\x00" not in text
        text.encode()
    return made


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Fatal(Exception):
    def __str__(self):
        raise SystemExit(3)

    __repr__ = __str__


class Endless(Exception):
    def __str__(self):
        return str(self)


class NoText(Exception):
    def __str__(self):
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - that is its fault


class BadNotes(Exception):
    @property
    def __notes__(self):
        raise SystemExit(3)


class BadCause(Exception):
    @property
    def __cause__(self):
        raise ValueError("no cause")


def test_an_error_is_described_by_class_text_and_traceback():
    made = described(ValueError("no such order"))

    assert (made.error_class, made.message) == ("ValueError", "no such order")
    assert made.traceback.startswith("Traceback (most recent call last):\n")
    assert made.traceback.endswith("ValueError: no such order\n")
    assert "in raised" in made.traceback


def test_a_class_outside_builtins_is_named_with_its_module():
    assert described(Silent()).error_class == f"{__name__}.Silent"


@pytest.mark.parametrize(
    "error",
    [Silent(), Fatal(), Endless(), NoText(), BadNotes("x"), BadCause("x")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_does_not_want_to_be_described_is_described(error):
    made = described(error)

    assert type(error).__name__ in made.error_class
    assert made.message
    assert "in raised" in made.traceback


def test_the_reason_why_there_is_no_text_is_told():
    assert described(Silent()).message == "<its text cannot be had: RuntimeError>"


def test_an_error_caused_by_one_that_cannot_be_described():
    error = ValueError("outer")
    error.__cause__ = raised(Silent())

    assert "outer" in described(error).traceback


def test_a_huge_text_is_cut():
    made = described(ValueError("x" * 5_000_000))

    assert "characters left out" in made.message
    assert "characters left out" in made.traceback


def test_a_huge_class_name_is_cut_to_its_column():
    kind = type("E" * 1000, (Exception,), {"__module__": "m" * 1000})

    assert len(described(kind("x")).error_class) <= 200


def test_a_class_name_of_exactly_the_columns_length_is_kept():
    kind = type("E" * 198, (Exception,), {"__module__": "m"})

    assert described(kind()).error_class == f"m.{'E' * 198}"


def test_nul_and_surrogates_in_text_and_names_are_made_visible():
    kind = type("E", (Exception,), {"__module__": "m\x00\ud800"})
    made = described(kind("a\x00b\udfffc"))

    assert made.error_class == "m\\x00\\ud800.E"
    assert made.message == "a\\x00b\\udfffc"


def test_a_module_that_is_no_text_does_no_harm():
    assert described(type("Odd", (Exception,), {"__module__": None})()).error_class.endswith("Odd")


def test_endless_recursion_is_described_with_a_bounded_traceback():
    def again():
        again()

    with pytest.raises(RecursionError) as caught:
        again()
    made = Error.of(caught.value)

    assert made.error_class == "RecursionError"
    assert "repeated" in made.traceback
    assert len(made.traceback) <= MAX_TRACEBACK


def test_a_long_chain_of_causes_is_cut():
    error = ValueError("first")
    for number in range(1_500):
        later = ValueError(f"number {number}")
        later.__cause__ = error
        error = later
    made = described(error)

    assert "characters left out" in made.traceback
    assert made.traceback.rstrip().endswith("number 1499")


def test_a_group_of_errors_is_described_with_its_members():
    made = described(ExceptionGroup("many", [ValueError("one"), Silent()]))

    assert made.error_class == "ExceptionGroup"
    assert "ValueError: one" in made.traceback


def test_our_own_outermost_frames_can_be_left_out():
    def task():
        raise ValueError

    def runner():
        task()

    with pytest.raises(ValueError) as caught:
        runner()
    made = Error.of(caught.value, skip_frames=2)  # this test and runner

    assert "in task" in made.traceback
    assert "in runner" not in made.traceback


def test_leaving_out_more_frames_than_there_are_keeps_the_last():
    assert "in raised" in described(ValueError(), skip_frames=50).traceback


def test_an_error_that_was_never_raised_has_no_frames():
    assert Error.of(ValueError("x"), skip_frames=2).traceback == "ValueError: x\n"


@settings(max_examples=50)
@given(st.text(st.characters()))
def test_any_text_is_stored(text):
    described(ValueError(text))


# --- the constructors


ERROR = Error(error_class="ValueError", message="x")


def test_a_success_carries_its_result_and_no_error():
    ended = outcome.succeeded({"a": 1})

    assert (ended.state, ended.result, ended.error, ended.retry_after) == (
        TryState.SUCCESS,
        {"a": 1},
        None,
        None,
    )


def test_a_failure_ends_the_execution():
    ended = outcome.failed(ERROR)

    assert (ended.state, ended.error, ended.retry_after) == (TryState.FAILED, ERROR, None)


def test_a_retried_try_failed_and_another_follows():
    ended = outcome.retried(ERROR, timedelta(seconds=5))

    assert (ended.state, ended.error, ended.retry_after) == (TryState.FAILED, ERROR, timedelta(seconds=5))


def test_a_lost_try_is_followed_at_once_while_there_are_retries_left():
    assert outcome.lost(has_retries_left=True).retry_after == timedelta(0)
    assert outcome.lost(has_retries_left=False).retry_after is None
    assert outcome.lost(has_retries_left=True).state is TryState.LOST


def test_an_unregistered_task_fails_for_good_and_says_what_to_do():
    ended = outcome.unregistered("shop.tasks.send")

    assert ended.state is TryState.FAILED
    assert ended.retry_after is None
    assert ended.error is not None
    assert "'shop.tasks.send'" in ended.error.message
    assert "import its module" in ended.error.message
