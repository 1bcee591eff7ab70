"""What is accepted survives the way through JSON unchanged; the rest is refused by name."""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict, defaultdict, namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core.errors import ArgumentError, I3TasksError, ResultError
from i3tasks_core.payload import (
    MAX_ARGUMENTS,
    MAX_DEPTH,
    MAX_RESULT,
    check_arguments,
    check_result,
    storable_text,
)

any_text = st.text(st.characters(), max_size=8)  # with NUL and lone surrogates
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.binary(max_size=3)
    | st.decimals(allow_nan=False)
    | st.datetimes()
    | st.just(object())
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.integers() | st.none() | st.booleans(), inner, max_size=3)
        | st.sets(st.integers(), max_size=2)
    ),
    max_leaves=12,
)


def texts_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for child in value:
            yield from texts_in(child)
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from texts_in(key)
            yield from texts_in(child)


def is_storable_text(text):
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def survives(value):
    """Whether strict JSON brings it back the same and every database can hold its texts."""
    try:
        there_and_back = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False
    return repr(there_and_back) == repr(value) and all(map(is_storable_text, texts_in(value)))


def is_accepted(*args, **kwargs):
    try:
        check_arguments(args, kwargs)
    except ArgumentError:
        return False
    return True


def refusal(*args, **kwargs):
    with pytest.raises(ArgumentError) as caught:
        check_arguments(args, kwargs)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, I3TasksError)
    return caught.value


def nested(depth, innermost=None):
    value = innermost if innermost is not None else []
    for _ in range(depth - 1):
        value = [value]
    return value


@settings(max_examples=300)
@given(values)
def test_accepted_is_exactly_what_json_brings_back_unchanged(value):
    assert is_accepted(value) == survives(value)
    assert is_accepted(named=value) == survives(value)


@settings(max_examples=100)
@given(values)
def test_a_result_is_judged_like_an_argument(value):
    try:
        check_result(value)
    except ResultError:
        assert not survives(value)
    else:
        assert survives(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64,
        10**300,
        0.0,
        -0.0,
        1.5,
        5e-324,
        1.7e308,
        "",
        "é",
        "🔑",
        [],
        {},
        {"a": [1, {"b": None}]},
    ],
)
def test_plain_json_is_accepted(value):
    assert is_accepted(value)


@pytest.mark.parametrize(
    ("value", "argument"),
    [
        (object(), "args[0]"),
        ({1: 2}, "args[0]"),
        ({None: 2}, "args[0]"),
        ({True: 2}, "args[0]"),
        ({"a": {(1, 2): 3}}, "args[0]['a']"),
        ([1, 2, {3}], "args[0][2]"),
        ({"user": {"name": b"x"}}, "args[0]['user']['name']"),
        (math.nan, "args[0]"),
        ([[math.inf]], "args[0][0][0]"),
        ({"a": -math.inf}, "args[0]['a']"),
        ("a\x00b", "args[0]"),
        ({"a\x00": 1}, "args[0]"),
        ("\ud800", "args[0]"),
        ("\ud83d\ude00", "args[0]"),
        ({"\udfff": 1}, "args[0]"),
        (datetime(2025, 1, 1, tzinfo=UTC), "args[0]"),
        (Decimal(1), "args[0]"),
        (uuid4(), "args[0]"),
        (1j, "args[0]"),
        (range(3), "args[0]"),
        (iter([]), "args[0]"),
        (int, "args[0]"),
        (10 ** (sys.get_int_max_str_digits() + 1), "args[0]"),
        (-(10 ** (sys.get_int_max_str_digits() + 1)), "args[0]"),
    ],
    ids=lambda value: str(type(value)),
)
def test_what_is_not_json_is_refused_by_place(value, argument):
    assert refusal(value).argument == argument
    assert str(refusal(value)).startswith(argument)


def test_the_place_tells_positional_from_named_arguments():
    assert refusal(1, 2, object()).argument == "args[2]"
    assert refusal(user={"name": object()}).argument == "kwargs['user']['name']"


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
def test_the_name_of_an_argument_must_be_storable_too(name):
    assert refusal(**{name: 1}).argument == f"kwargs[{name!r}]"


def test_the_error_says_what_to_pass_instead():
    assert "by its pk" in str(refusal(object()))


def test_a_whole_number_of_as_many_digits_as_python_reads_is_accepted():
    largest = 10 ** sys.get_int_max_str_digits() - 1

    assert is_accepted(largest, -largest)


# --- nesting, cycles, size


def test_nesting_is_accepted_up_to_its_bound_and_refused_beyond():
    assert is_accepted(nested(MAX_DEPTH))
    assert "nested deeper" in str(refusal(nested(MAX_DEPTH + 1)))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_the_deepest_nesting_is_an_argument_error_never_a_recursion_error(depth):
    refusal(nested(depth))
    deep = {}
    for _ in range(depth):
        deep = {"a": deep}
    refusal(named=deep)


def test_a_list_in_itself_is_refused():
    cycle = [1, "x"]
    cycle += [cycle, cycle]

    refusal(cycle)
    refusal(named={"a": cycle})


def test_a_dict_in_itself_is_refused():
    cycle = {"a": 1}
    cycle["self"] = cycle
    cycle["list"] = [cycle]

    refusal(cycle)
    with pytest.raises(ResultError):
        check_result(cycle)


def test_the_same_list_twice_is_no_cycle():
    shared = [1]

    assert is_accepted([shared, shared], shared, again=shared)


def test_arguments_up_to_the_limit_are_accepted_and_one_byte_more_is_not():
    room = MAX_ARGUMENTS - len(json.dumps([[""], {}]))

    assert is_accepted("x" * room)
    assert refusal("x" * (room + 1)).argument == "the arguments"


def test_size_counts_all_arguments_together():
    assert refusal(*["x" * 1000] * 300).argument == "the arguments"


def test_a_result_up_to_its_limit_is_accepted_and_one_byte_more_is_not():
    check_result("x" * (MAX_RESULT - 2))
    with pytest.raises(ResultError, match="bytes as JSON"):
        check_result("x" * (MAX_RESULT - 1))


# --- what the errors say: places, never values


def test_an_error_never_repeats_a_value():
    class Login:
        def __repr__(self):
            return "Login(hunter2)"

        __hash__ = object.__hash__

    for wrong in (Login(), {Login(): 1}, {("bob", "hunter2"): 1}, {b"hunter2": 1}, "hunter2\x00", b"hunter2"):
        assert "hunter2" not in str(refusal(wrong))
        assert "hunter2" not in str(refusal(login=wrong))
        with pytest.raises(ResultError) as caught:
            check_result(wrong)
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(refusal("hunter2" * 100_000))


def test_a_key_that_is_no_text_is_described():
    assert "has the key 1; JSON knows only text as keys" in str(refusal({1: 2}))
    assert "has a key of type tuple;" in str(refusal({(1, 2): 3}))
    assert "has a key of type int;" in str(refusal({10**5000: 3}))


def test_a_long_key_is_not_repeated_in_full():
    error = refusal({"k" * 10_000: object()})

    assert len(str(error)) < 400
    assert len(str(refusal(**{"k" * 10_000: object()}))) < 400


# --- subclasses: what json makes of them is what the task gets


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


Point = namedtuple("Point", "x y")  # noqa: PYI024


class LoudText(str):
    __slots__ = ()

    def __contains__(self, _other):
        return False

    def isascii(self):
        return True

    def encode(self, *_args):  # type: ignore[override]
        return b""

    def __str__(self):
        return "something else"


class CalmFloat(float):
    def __eq__(self, _other):
        return True

    def __ne__(self, _other):
        return False

    __hash__ = float.__hash__


class OddInt(int):
    def __repr__(self):
        return "odd"

    def __lt__(self, _other):
        return True

    __gt__ = __lt__


class Masked(dict):
    """Shows other keys to a loop than its items have."""

    def __iter__(self):
        return iter(["text"])

    def items(self):
        return [(1, "one")]


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (Colour.RED, "red"),
        ({Colour.RED: 1}, {"red": 1}),
        (Level.HIGH, 3),
        (Point(1, 2), [1, 2]),
        ((1, (2, 3)), [1, [2, 3]]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (OddInt(5), 5),
        (CalmFloat(1.5), 1.5),
    ],
    ids=repr,
)
def test_a_subclass_arrives_as_the_plain_value_it_holds(value, received):
    assert is_accepted(value)
    assert json.loads(json.dumps(value)) == received


@pytest.mark.parametrize(
    "value",
    [
        CalmFloat("nan"),
        CalmFloat("inf"),
        LoudText("a\x00b"),
        LoudText("\ud800"),
        {LoudText("a\x00b"): 1},
        OddInt(10**5000),
        Masked(text=1),
        {Level.HIGH: 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_cannot_hide_what_json_would_write(value):
    refusal(value)
    with pytest.raises(ResultError):
        check_result(value)


# --- texts


@pytest.mark.parametrize("limit", [200, 8192, 65536])
@pytest.mark.parametrize("size", [0, 1, 199, 200, 201, 8192, 8193, 100_000, 3_000_000])
def test_a_text_never_exceeds_its_limit(limit, size):
    text = storable_text("é" * size, limit)

    assert len(text) <= limit
    assert (text == "é" * size) == (size <= limit)


def test_a_long_text_keeps_its_beginning_and_its_end_and_tells_what_is_missing():
    text = storable_text("begin" + "x" * 1000 + "end", 200)

    assert text.startswith("begin")
    assert text.endswith("end")
    assert "characters left out" in text


@settings(max_examples=100)
@given(st.text(st.characters(), max_size=300))
def test_a_text_that_any_database_stores(text):
    stored = storable_text(text, 200)

    assert is_storable_text(stored)
    assert len(stored) <= 200
    if is_storable_text(text) and len(text) <= 200:
        assert stored == text


def test_what_was_refused_in_a_text_can_still_be_read():
    assert storable_text("a\x00b\ud800c", 200) == "a\\x00b\\ud800c"
