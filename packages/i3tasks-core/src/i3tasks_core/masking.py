"""Values that look secret by their names, made unreadable before people see them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "••••••••"

_PARTS = (
    "accesskey", "apikey", "authorization", "connectionstring", "cookie", "credential", "cvc", "cvv",
    "encryptionkey", "passphrase", "passwd", "password", "privatekey", "pwd", "secret", "sessionid",
    "sessionkey", "signature", "signingkey", "token",
)  # fmt: skip
_WORDS = frozenset({"auth", "bearer", "dsn", "jwt", "otp", "pass", "passcode", "pin", "pw"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def masked(value: Any) -> Any:
    """The JSON value with a mask over everything under a secret-looking key, however deep."""
    if isinstance(value, Mapping):
        return {key: masked_as(str(key), child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [masked(child) for child in value]
    return value


def masked_as(name: str, value: Any) -> Any:
    """The value as one may show it under that name. What says nothing (None, true, false) stays readable."""
    if value is None or isinstance(value, bool):
        return value
    return MASK if looks_secret(name) else masked(value)


def masked_arguments(args: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Positional arguments, masked by the names of the parameters that take them.

    Args:
        args: the arguments.
        names: the function's parameters as far as they are known; arguments beyond them have no name.
    """
    return [
        masked_as(names[index], value) if index < len(names) else masked(value)
        for index, value in enumerate(args)
    ]


def looks_secret(name: str) -> bool:
    """Whether a key, parameter or header of that name usually holds something not for every eye.

    Long words count anywhere in the name, short ones only as a word of their own: ``author`` is no ``auth``.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return not _WORDS.isdisjoint(words) or any(part in "".join(words) for part in _PARTS)
