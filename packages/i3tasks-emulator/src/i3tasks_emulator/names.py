"""Resource names: `projects/P/topics/T`, `projects/P/subscriptions/S`."""

import re
from typing import Literal

from i3tasks_emulator.errors import invalid

Kind = Literal["topics", "subscriptions"]

# 3 to 255 characters, a letter first, never `goog…`: the service's own rule.
_RESOURCE = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")
_PROJECT = re.compile(r"projects/[^/]+")


def check_name(name: str, kind: Kind) -> None:
    """Raise INVALID_ARGUMENT unless `name` is a full resource name of this kind."""
    match = _RESOURCE.fullmatch(name)
    if match is None or match[1] != kind:
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def check_project(name: str) -> None:
    """Raise INVALID_ARGUMENT unless `name` is `projects/P`."""
    if _PROJECT.fullmatch(name) is None:
        raise invalid(f"Invalid [projects] name: (name={name})")
