"""How many arguments fit by their places alone: what Python itself says of the same call."""

from __future__ import annotations

import inspect

import pytest

from i3tasks_django.task import _places


def fits(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


@pytest.mark.parametrize(
    "func",
    [
        lambda: ...,
        lambda a: ...,
        lambda a, b=1: ...,
        lambda a, /, b, c=1: ...,
        lambda *args: ...,
        lambda a, *args: ...,
        lambda a, **kwargs: ...,
        lambda a=1, *args, b=2, **kwargs: ...,
        lambda a, *, b: ...,
        lambda a, *, b=1: ...,
        lambda *args, b, **kwargs: ...,
    ],
    ids=lambda func: str(inspect.signature(func)),
)
def test_places_are_those_that_python_binds(func):
    signature = inspect.signature(func)

    assert [count in _places(signature) for count in range(6)] == [fits(signature, n) for n in range(6)]
