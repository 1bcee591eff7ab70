"""Arguments, results and errors made storable: what PostgreSQL, SQLite and JSON all can hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from i3tasks_core.errors import ArgumentError, ResultError

MAX_ARGUMENTS = 256 * 1024
MAX_RESULT = 1024 * 1024
MAX_TRACEBACK = 64 * 1024
MAX_MESSAGE = 8 * 1024
MAX_DEPTH = 50

_SHOWN_KEY = 100

_HINT = "pass JSON: str, int, float, bool, None, lists and dicts of them (a model by its pk, a date as text)"


class _Unstorable(Exception):
    def __init__(self, place: str, reason: str) -> None:
        self.place, self.reason = place, reason


def check_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
    """See that a call's arguments survive the way through the database unchanged.

    Returns:
        Both as JSON, for who writes them as they are now.

    Raises:
        ArgumentError: names the argument that does not, and why.
    """
    try:
        for index, value in enumerate(args):
            _check(value, f"args[{index}]", 1)
        for key, value in kwargs.items():
            if not isinstance(key, str):
                raise _Unstorable("kwargs", f"has {_described(key)}, which is no name")  # noqa: TRY301
            place = f"kwargs[{_clipped(key)}]"
            _check_text(key, place)
            _check(value, place, 1)
    except _Unstorable as found:
        raise ArgumentError(found.place, f"{found.reason}: {_HINT}") from None
    written = json.dumps(args) if args else "[]", json.dumps(kwargs) if kwargs else "{}"
    size = len(f"[{written[0]}, {written[1]}]")
    if size > MAX_ARGUMENTS:
        raise ArgumentError(
            "the arguments",
            f"take {size:,} bytes as JSON; at most {MAX_ARGUMENTS:,}: store the data and pass its key",
        )
    return written


def check_result(value: Any) -> None:
    """See that a task's return value can be stored.

    Raises:
        ResultError: says which part cannot, and why.
    """
    try:
        _check(value, "result", 1)
    except _Unstorable as found:
        raise ResultError(f"{found.place} {found.reason}: return JSON, or None") from None
    size = len(json.dumps(value))
    if size > MAX_RESULT:
        raise ResultError(
            f"the result takes {size:,} bytes as JSON; at most {MAX_RESULT:,}: store it and return its key"
        )


def storable_text(text: str, limit: int) -> str:
    """The text without what a database refuses (NUL, lone surrogates), cut in its middle above the limit."""
    text = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = limit // 2 - 20
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def _check(value: Any, place: str, depth: int) -> None:
    """What json will write is what is looked at here, also of a subclass that shows another face."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(str.__str__(value), place)
    elif isinstance(value, int):
        _check_digits(value, place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _Unstorable(place, f"is {float.__repr__(value)}, which is not JSON")
    elif isinstance(value, list | tuple):
        _check_children(((f"{place}[{index}]", child) for index, child in enumerate(value)), place, depth)
    elif isinstance(value, dict):
        _check_children(_members(value, place), place, depth)
    else:
        kind = type(value)
        raise _Unstorable(place, f"is a {kind.__module__}.{kind.__qualname__}, which is not JSON")


def _check_children(children: Iterable[tuple[str, Any]], place: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Unstorable(place, f"is nested deeper than {MAX_DEPTH} levels")
    for where, child in children:
        _check(child, where, depth + 1)


def _members(value: dict[Any, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, child in value.items():
        # json.dumps turns 1 into "1" without a word, and the task would look in vain for its key.
        if not isinstance(key, str):
            raise _Unstorable(place, f"has {_described(key)}; JSON knows only text as keys")
        text = str.__str__(key)
        _check_text(text, place)
        yield f"{place}[{_clipped(text)}]", child


def _described(key: Any) -> str:
    """A key that is no text; of what may hold anything, only its type."""
    if key is None or type(key) in (bool, float) or (type(key) is int and key.bit_length() < 300):
        return f"the key {key!r}"
    return f"a key of type {type(key).__qualname__}"


def _clipped(key: str) -> str:
    text = repr(str.__str__(key))
    return text if len(text) <= _SHOWN_KEY else f"{text[:_SHOWN_KEY]}…'"


def _check_text(value: str, place: str) -> None:
    if "\x00" in value:
        raise _Unstorable(place, "holds a NUL character, which PostgreSQL cannot store")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Unstorable(place, "holds a lone surrogate, which is not Unicode text") from None


def _check_digits(value: int, place: str) -> None:
    if int.bit_length(value) < 300:
        return
    try:
        int.__repr__(value)
    except ValueError as error:  # it would not come back either: sys.get_int_max_str_digits()
        raise _Unstorable(place, "is a whole number of more digits than Python reads") from error
