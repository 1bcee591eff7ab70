"""Calls beside a durable peer's in short bursts by turns: however fast the machine is, it is so for both."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.peers.procrastinate import PROCRASTINATE
from benchmarks.sessions import Machine, Session, session

_PAUSE = 0.3
"""Seconds between two bursts: what one has left to do must not be the other's load."""


def measure_turns(ready: Session, machine: Machine, is_quick: bool) -> dict[str, float]:
    burst_count, single, bulk = (2, 20, 100) if is_quick else (40, 600, 5_000)
    with session(PROCRASTINATE, machine) as other:
        return {
            **_by_turns((ready, other), "one_by_one", single, burst_count),
            **_by_turns((ready, other), "in_bulk", bulk, burst_count),
        }


def _by_turns(pair: tuple[Session, Session], function: str, count: int, burst_count: int) -> dict[str, float]:
    what = {"one_by_one": "single calls", "in_bulk": "bulk calls"}[function]
    rates: tuple[list[float], list[float]] = ([], [])
    for each in pair:
        each.call(function, count=count)
    for number in range(burst_count):
        for index in (0, 1) if number % 2 else (1, 0):
            time.sleep(_PAUSE)
            rates[index].append(count / pair[index].call(function, count=count))
    ratios = [own / others for own, others in zip(*rates, strict=True)]
    return {
        f"{what}/s, ours": median(rates[0]),
        f"{what}/s, {PROCRASTINATE.name}": median(rates[1]),
        f"{what}, ours : {PROCRASTINATE.name}, of {burst_count} bursts": median(ratios),
    }
