"""Every way a task may end, and what follows from it."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import timedelta

import pytest
from core_values import make_claim, make_task, metadata_of

from i3tasks_core import runner
from i3tasks_core.claim import TaskMetadata
from i3tasks_core.errors import Discard, Retry, TaskTimeout
from i3tasks_core.outcome import Outcome
from i3tasks_core.payload import MAX_RESULT
from i3tasks_core.retry import RetryPolicy
from i3tasks_core.states import TryState

POLICY = RetryPolicy(base=timedelta(seconds=100), maximum=timedelta(seconds=100))


def run(body, *, claim=None, **options) -> Outcome:
    claim = claim or make_claim()
    return runner.run(claim, make_task(body, **{"retry": POLICY, **options}), metadata_of(claim))


def raising(error):
    def body():
        raise error

    return body


def assert_final(ended, error_class):
    assert ended.state is TryState.FAILED
    assert ended.retry_after is None
    assert ended.error.error_class.endswith(error_class)


def assert_repeated(ended, error_class):
    assert ended.state is TryState.FAILED
    assert timedelta(0) <= ended.retry_after <= POLICY.maximum
    assert ended.error.error_class.endswith(error_class)


def test_what_a_body_sets_in_its_context_is_gone_with_it():
    colour: ContextVar[str] = ContextVar("colour", default="none")
    colour.set("ours")

    seen = [run(lambda: (colour.get(), colour.set("theirs"))[0]).result for _ in range(2)]

    assert seen == ["ours", "ours"]
    assert colour.get() == "ours"


# --- what the task is given


def test_the_body_gets_the_claims_arguments():
    claim = make_claim(args=[1, "two"], kwargs={"three": [3]})

    assert run(lambda *args, **kwargs: [args, kwargs], claim=claim).result == [(1, "two"), {"three": [3]}]


def test_a_bound_body_gets_its_metadata_and_the_claims_arguments_stay_as_they_are():
    claim = make_claim(try_number=2, kwargs={"a": 1})
    got: list[TaskMetadata] = []

    def body(a, task_metadata):
        got.append(task_metadata)
        return a

    assert run(body, claim=claim, bind=True).result == 1
    assert (got[0].id, got[0].try_number) == (claim.execution_id, 2)
    assert claim.kwargs == {"a": 1}


def test_an_unbound_body_gets_no_metadata():
    assert run(lambda **kwargs: kwargs).result == {}


# --- success


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1, None]}, 1.5, True])
def test_a_return_value_is_a_success(value):
    ended = run(lambda: value)

    assert (ended.state, ended.result, ended.error) == (TryState.SUCCESS, value, None)


class HostileDict(dict):
    def items(self):
        raise SystemExit(9)


class HostileKey:
    def __repr__(self):
        raise RuntimeError("no name")

    def __hash__(self):
        return 1


def cycle():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        float("nan"),
        "a\x00b",
        "\ud800",
        10**5000,
        cycle(),
        "x" * MAX_RESULT,
        {HostileKey(): 1},
        HostileDict(a=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result_that_cannot_be_stored_is_a_failure_that_is_not_repeated(value):
    ended = run(lambda: value)

    assert ended.state is TryState.FAILED
    assert ended.retry_after is None
    assert ended.result is None
    assert ended.error is not None


def test_the_failure_says_which_part_of_the_result_cannot_be_stored():
    ended = run(lambda: {"rows": [1, object()]})

    assert_final(ended, "ResultError")
    assert ended.error is not None
    assert "result['rows'][1] is a builtins.object" in ended.error.message


# --- failure


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError(), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), TaskTimeout()]
)
def test_whatever_is_raised_another_try_follows(error):
    assert_repeated(run(raising(error)), type(error).__name__)


def test_wrong_arguments_are_a_failure_like_any_other():
    assert_repeated(run(lambda: None, claim=make_claim(args=[1])), "TypeError")


@pytest.mark.parametrize(("try_number", "max_retries"), [(4, 3), (1, 0), (5, 3)])
def test_without_retries_left_a_failure_is_final(try_number, max_retries):
    claim = make_claim(try_number=try_number, max_retries=max_retries)

    assert_final(run(raising(ValueError()), claim=claim), "ValueError")


def test_three_retries_mean_four_tries():
    endings = [
        run(raising(ValueError()), claim=make_claim(try_number=number, max_retries=3))
        for number in (1, 2, 3, 4)
    ]

    assert [ended.retry_after is None for ended in endings] == [False, False, False, True]


def test_what_the_policy_does_not_repeat_is_final():
    policy = RetryPolicy(no_retry_for=(KeyError,))

    assert_final(run(raising(KeyError("x")), retry=policy), "KeyError")


def test_a_timeout_is_repeated_only_if_the_policy_says_so():
    assert_final(run(raising(TaskTimeout()), retry=RetryPolicy(retry_for=(Exception,))), "TaskTimeout")


def test_the_traceback_begins_with_the_tasks_own_frame():
    ended = run(raising(ValueError("x")))

    assert ended.error is not None
    first_frame = ended.error.traceback.splitlines()[1]
    assert first_frame.endswith("in body")


def test_the_traceback_begins_with_the_tasks_own_frame_with_a_timeout_too():
    ended = run(raising(ValueError("x")), timeout=timedelta(seconds=60))

    assert ended.error is not None
    assert ended.error.traceback.splitlines()[1].endswith("in body")


# --- signals


def test_discard_is_final_and_keeps_its_reason():
    ended = run(raising(Discard("no such order")))

    assert_final(ended, "Discard")
    assert ended.error is not None
    assert ended.error.message == "no such order"


def test_retry_waits_as_long_as_it_asks_for():
    ended = run(raising(Retry(after=7, reason="closed")))

    assert ended.retry_after == timedelta(seconds=7)
    assert ended.error is not None
    assert ended.error.message == "closed"


def test_retry_at_once_is_a_delay_of_zero_and_no_end():
    assert run(raising(Retry(after=0))).retry_after == timedelta(0)


def test_retry_without_a_delay_leaves_it_to_the_policy():
    assert_repeated(run(raising(Retry())), "Retry")


def test_retry_is_asked_for_and_so_needs_no_leave_of_the_policy():
    assert run(raising(Retry(after=7)), retry=RetryPolicy(retry_for=())).retry_after == timedelta(seconds=7)


def test_retry_counts_as_a_try():
    claim = make_claim(try_number=4, max_retries=3)

    assert_final(run(raising(Retry(after=7)), claim=claim), "Retry")


class OwnRetry(Retry):
    def __init__(self, after=...):
        if after is not ...:
            self.after = after


@pytest.mark.parametrize("after", [..., None, 5, "soon", timedelta(-1), timedelta.max], ids=str)
def test_a_retry_of_the_tasks_own_making_falls_back_on_the_policy(after):
    assert_repeated(run(raising(OwnRetry(after))), "OwnRetry")


def test_a_signal_inside_another_error_is_not_obeyed():
    def body():
        try:
            raise Discard("inner")
        except Discard as error:
            raise ValueError("outer") from error

    assert_repeated(run(body), "ValueError")


class Unspeakable(Exception):
    def __str__(self):
        raise KeyboardInterrupt

    __repr__ = __str__


def test_an_error_that_cannot_be_described_is_a_failure_like_any_other():
    assert_repeated(run(raising(Unspeakable())), "Unspeakable")


# --- timeout


def spin():
    while True:
        pass


def test_a_body_that_runs_too_long_fails_with_its_timeout_as_reason():
    ended = run(spin, timeout=timedelta(milliseconds=50))

    assert_repeated(ended, "TaskTimeout")
    assert ended.error is not None
    assert ended.error.message == "ran longer than its timeout of 0.05 s"
    assert "in spin" in ended.error.traceback


def test_a_body_within_its_timeout_succeeds():
    assert run(lambda: 5, timeout=timedelta(seconds=60)).result == 5


def test_call_leaves_the_bodys_exception_to_the_caller():
    claim = make_claim()
    with pytest.raises(ZeroDivisionError):
        runner.call(make_task(lambda: 1 // 0), metadata_of(claim), [], {})
