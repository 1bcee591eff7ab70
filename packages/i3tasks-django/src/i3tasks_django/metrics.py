"""What a service tells Prometheus: what its own passes did, and what waits in the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from django.db import Error
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Coalesce, Now
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from i3tasks_core.states import UNFINISHED, TryState
from i3tasks_django.maintenance import Pass
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.database import alias, connection

KEPT_FOR = 2.0
"""Seconds for which the database is not asked again, however many scrape."""


class Metrics:
    """The figures of one service, in a registry of its own: the project's may hold anything."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._ended_at = time.monotonic()
        self._failed = self._counter("i3tasks_passes_failed", "maintenance passes that failed")
        self._fired = self._counter("i3tasks_fired", "schedule ticks fired")
        self._published = self._counter("i3tasks_published", "messages published by the relay")
        self._rescued = self._counter("i3tasks_rescued", "lost tries settled")
        self._cleaned = self._counter("i3tasks_cleaned", "executions, groups and ticks deleted for their age")
        self._passes = self._counter("i3tasks_passes", "maintenance passes that ended, failed ones too")
        self._seconds = Histogram(
            "i3tasks_pass_seconds", "how long a maintenance pass took", registry=self._registry
        )
        age = Gauge(
            "i3tasks_last_pass_age_seconds",
            "since the last maintenance pass ended, or the service started",
            registry=self._registry,
        )
        age.set_function(lambda: time.monotonic() - self._ended_at)
        self._registry.register(_Waiting())

    def passed(self, done: Pass | None, seconds: float) -> None:
        """Count a pass; None for one that failed."""
        self._ended_at = time.monotonic()
        self._passes.inc()
        self._seconds.observe(seconds)
        if done is None:
            self._failed.inc()
            return
        self._fired.inc(done.fired_count)
        self._published.inc(done.published_count)
        self._rescued.inc(done.rescued_count)
        self._cleaned.inc(done.cleaned_count)

    def text(self) -> bytes:
        """Everything, in the text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, registry=self._registry)


class _Waiting:
    """What the database says when somebody scrapes; a database that is away tells nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._found: dict[str, float] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._lock:
            if time.monotonic() - self._asked_at > KEPT_FOR:
                self._found = _ask()
                self._asked_at = time.monotonic()
            found = self._found
        for name, what in _WAITING.items():
            if name in found:
                yield GaugeMetricFamily(name, what, found[name])

    def describe(self) -> list[GaugeMetricFamily]:
        """Known beforehand, so that registering asks no database."""
        return [GaugeMetricFamily(name, what) for name, what in _WAITING.items()]


_WAITING = {
    "i3tasks_tries_pending_due": "tries that are due and not claimed",
    "i3tasks_tries_pending_oldest_age_seconds": "for how long the oldest of them has been due",
    "i3tasks_tries_running": "tries that are running",
}


def _ask() -> dict[str, float]:
    """One query, over the unfinished tries only: they have an index of their own."""
    due_at = Coalesce("run_after", "asked_at")
    is_due = Q(state=TryState.PENDING) & (Q(run_after=None) | Q(run_after__lte=Now()))
    unfinished = TaskExecutionTry.objects.using(alias()).filter(state__in=sorted(UNFINISHED))
    try:
        found = unfinished.aggregate(
            due=Count("pk", filter=is_due),
            oldest=Min(due_at, filter=is_due),
            running=Count("pk", filter=Q(state=TryState.RUNNING)),
            now=Max(Now()),
        )
    except Error:
        connection().close()
        return {}
    age = (found["now"] - found["oldest"]).total_seconds() if found["oldest"] else 0.0
    return dict(zip(_WAITING, (found["due"], max(0.0, age), found["running"]), strict=True))
