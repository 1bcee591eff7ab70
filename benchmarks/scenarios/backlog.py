"""Whether a long queue is drained as fast as a short one, and how fast bulk calls make it."""

from __future__ import annotations

from benchmarks.measures import drain
from benchmarks.sessions import Machine, Session


def measure_backlog(ready: Session, machine: Machine, is_quick: bool) -> dict[str, float]:
    short, long = (100, 500) if is_quick else (5_000, 100_000)
    bulk, rate = drain(ready, machine.database, short)
    long_bulk, long_rate = drain(ready, machine.database, long)
    return {
        f"delay_many/s, {short:,} calls": bulk,
        f"delay_many/s, {long:,} calls": long_bulk,
        f"drain/s, backlog of {short:,}": rate,
        f"drain/s, backlog of {long:,}": long_rate,
        f"drain, backlog of {long:,} : of {short:,}": long_rate / rate,
    }
