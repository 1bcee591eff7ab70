"""A process of a peer's project that makes the calls: a JSON line in names a function, one out is its answer.

Runs with the peer's own packages, so it imports nothing but the standard library and Django.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import django


def main() -> None:
    # What a peer prints must not get between the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        django.setup()
        for line in sys.stdin:
            request = json.loads(line)
            answer = _function(request["function"])(**request["arguments"])
            print(json.dumps(answer), file=answers, flush=True)


def _function(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


if __name__ == "__main__":
    main()
