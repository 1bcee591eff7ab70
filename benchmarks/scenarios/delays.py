"""How late delayed calls start: all of them due within one second, spread over it."""

from __future__ import annotations

from datetime import timedelta

from benchmarks.figures import percentile
from benchmarks.peers import OURS
from benchmarks.sessions import Machine, Session

_CONCURRENCIES = (8, 32)


def measure_delays(ready: Session, _machine: Machine, is_quick: bool) -> dict[str, float]:
    count = 50 if is_quick else 1_000
    found: dict[str, float] = {}
    for concurrency in _CONCURRENCIES[:1] if is_quick else _CONCURRENCIES:
        found |= _measure(ready, count, concurrency)
    return found


def _measure(ready: Session, count: int, concurrency: int) -> dict[str, float]:
    worker = ("i3tasks_worker", "--queue", "heavy", "--concurrency", str(concurrency))
    ready.notes.clear()
    before = ready.finished()
    with ready.service(*OURS.beat), ready.service(*worker) as working:
        ready.ask(f"{__name__}.call_delayed", count=count)
        ready.wait_until_finished(working, count, before + count)
        late = sorted(started - due for due, started in ready.notes.read())
    return {
        f"seconds late, {percent}th of {count:,} calls due in a second, concurrency {concurrency}": (
            percentile(late, percent)
        )
        for percent in (50, 99)
    }


def call_delayed(count: int) -> None:
    """In the project. Tells the task when it was due in place of when it was called."""
    from django.db import transaction
    from django.utils import timezone

    from benchmarks.peers.ours.tasks import nothing

    due_at = timezone.now() + timedelta(seconds=6)
    with transaction.atomic():
        for number in range(count):
            at = due_at + timedelta(seconds=number / count)
            nothing.using(run_after=at).delay(at.timestamp())
