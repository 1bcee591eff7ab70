"""Subscription filters: the part of the service's language that is worth having locally.

    attributes:key
    attributes.key = "value"        attributes.key != "value"
    hasPrefix(attributes.key, "value")

Each may stand after `NOT` or `-`, and they are joined by `AND`. There is neither `OR` nor parentheses.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from i3tasks_emulator.errors import invalid

Attributes: TypeAlias = Mapping[str, str]
Test: TypeAlias = Callable[[Attributes], bool]

_KEY = r"[\w\-]+"
_VALUE = r'"((?:[^"\\]|\\.)*)"'
_TERM = re.compile(
    rf"""\s*(?P<negated>NOT\s+|-)?\s*
    (?: attributes:(?P<present>{_KEY})
      | attributes\.(?P<compared>{_KEY})\s*(?P<operator>!?=)\s*(?P<value>{_VALUE})
      | hasPrefix\(\s*attributes\.(?P<prefixed>{_KEY})\s*,\s*(?P<prefix>{_VALUE})\s*\)
    )\s*(?P<joint>AND\b|$)""",
    re.VERBOSE,
)


def compile_filter(expression: str) -> Test | None:
    """The test a message's attributes must pass, or None for the empty filter, which lets everything pass.

    Raises:
        StatusError: INVALID_ARGUMENT for what this module does not understand.
    """
    if not expression:
        return None
    tests: list[Test] = []
    joint, end = "AND", 0
    while joint:
        term = _TERM.match(expression, end)
        if term is None:
            raise invalid(f"Invalid filter (expr={expression})")
        tests.append(_test_of(term))
        joint, end = term["joint"], term.end()
    return lambda attributes: all(test(attributes) for test in tests)


def _test_of(term: re.Match[str]) -> Test:
    wanted = term["negated"] is None
    if key := term["present"]:
        return lambda attributes: (key in attributes) is wanted
    if key := term["prefixed"]:
        prefix = _unquoted(term["prefix"])
        return lambda attributes: (key in attributes and attributes[key].startswith(prefix)) is wanted
    key, value = term["compared"], _unquoted(term["value"])
    if term["operator"] == "!=":
        wanted = not wanted
    return lambda attributes: (key in attributes and attributes[key] == value) is wanted


def _unquoted(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal[1:-1])
