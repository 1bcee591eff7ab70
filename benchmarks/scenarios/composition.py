"""What a member of a group costs beside a task alone, and the memory that bulk calls take."""

from __future__ import annotations

import time
import tracemalloc

from benchmarks.measures import workers
from benchmarks.sessions import Machine, Session

_UNFINISHED = "SELECT count(*) FROM i3tasks_django_taskexecution WHERE state = 'pending'"


def measure_composition(ready: Session, _machine: Machine, is_quick: bool) -> dict[str, float]:
    count = 100 if is_quick else 10_000
    peaks = {
        f"KiB, peak of {calls:,} calls by delay_many": ready.ask(f"{__name__}.peak", count=calls) / 1024
        for calls in (count // 10, count)
    }
    # What has been called for these is out of the way before time is measured.
    with workers(ready) as working:
        working[0].wait_for(lambda: not ready.look(_UNFINISHED), seconds=600)
        working[0].stop()
    alone = _cost(ready, count, "call_alone")
    member = _cost(ready, count, "call_as_group")
    return peaks | {
        f"µs, a task alone from call to end, {count:,} of them": alone,
        f"µs, a member of a group of {count:,}": member,
        "a member of a group : a task alone": member / alone,
    }


def _cost(ready: Session, count: int, function: str) -> float:
    """Microseconds of one task, those of its call and those of its run."""
    ready.notes.clear()
    before = ready.finished()
    called: float = ready.ask(f"{__name__}.seconds_of", function=function, count=count)
    with workers(ready) as working:
        ended_at = ready.wait_until_finished(working[0], count, before + count)
        working[0].stop()
    return (called + ended_at - ready.notes.read_starts()[0]) / count * 1e6


def seconds_of(function: str, count: int) -> float:
    """In the project, like all that follows."""
    began = time.perf_counter()
    {"call_alone": call_alone, "call_as_group": call_as_group}[function](count)
    return time.perf_counter() - began


def call_alone(count: int) -> None:
    from benchmarks.peers.ours.tasks import nothing

    nothing.delay_many((0.0,) for _ in range(count))


def call_as_group(count: int) -> None:
    from benchmarks.peers.ours.tasks import nothing
    from i3tasks_django import group

    group(nothing.s(0.0) for _ in range(count)).delay()


def peak(count: int) -> int:
    """Bytes that Python had at most while so many calls were made."""
    call_alone(1)
    tracemalloc.start()
    call_alone(count)
    _, found = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found
