"""How calls are made, the same for every peer, in a process of the project whose ``tasks`` are called."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.core.management import call_command

TASKS = "BENCH_TASKS"
"""The environment variable that names the peer's module of tasks."""

_BATCH = 1_000


def migrate() -> None:
    call_command("migrate", verbosity=0)


def prepare() -> None:
    """What the peer needs before the first call."""
    getattr(_tasks(), "prepare", lambda: None)()


def one_by_one(count: int, function: str = "call") -> float:
    """So many single calls, each its own transaction; the seconds they took."""
    call: Callable[[float], Any] = getattr(_tasks(), function)
    began = time.perf_counter()
    for _ in range(count):
        call(time.time())
    return time.perf_counter() - began


def in_bulk(count: int, function: str = "call_many") -> float:
    """So many calls, a thousand at a time; the seconds they took."""
    call_many: Callable[[list[float]], Any] = getattr(_tasks(), function)
    began = time.perf_counter()
    for start in range(0, count, _BATCH):
        call_many([time.time()] * min(_BATCH, count - start))
    return time.perf_counter() - began


def steadily(per_second: float, seconds: float) -> int:
    """Single calls at an even pace; how many. One that comes late does not make the others late."""
    call: Callable[[float], Any] = _tasks().call
    count, began = int(per_second * seconds), time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        call(time.time())
    return count


def _tasks() -> Any:
    return import_module(os.environ[TASKS])
