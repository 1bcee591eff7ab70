"""Maintenance passes, one after another: the beat's, and those that a worker makes beside its work."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from django.db import connections

from i3tasks_core import events
from i3tasks_django.maintenance import Cleaner, Pass, maintain
from i3tasks_django.metrics import Metrics
from i3tasks_django.publishing import declare_in_background
from i3tasks_django.runtime import runtime
from i3tasks_django.service import GRACE, environment_number
from i3tasks_django.sidecar import serve_health
from i3tasks_django.signals import StopRequest
from i3tasks_django.store.database import (
    TRANSIENT,
    connection,
    discard_broken,
    give_back_pooled_connections,
)

PERIOD = 1.0
"""Seconds between two passes."""

HANGING_AFTER = 20.0
"""Seconds without a finished pass after which the beat calls itself dead."""


class Beat:
    """The maintenance loop: a relay in every pass, a rescue six times a lease."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._cleaner = Cleaner()
        self._rescue_every = runtime().config.lease.total_seconds() / 6
        self._rescued_at = float("-inf")
        self._turned_at = time.monotonic()
        self._failure: str | None = None

    def run(self, wait: Callable[[float], bool], least: float = PERIOD, most: float = PERIOD) -> None:
        """Make passes until it is time to stop.

        Args:
            wait: waits so many seconds, and says whether it is.
            least: seconds between two passes, with the next one: chance spreads those of many processes.
            most: see ``least``.
        """
        while not wait(random.uniform(least, most)):  # noqa: S311 - not a secret
            self.turn()

    def turn(self) -> None:
        """One pass. A database or Pub/Sub that is away is logged and tried again in the next."""
        now = time.monotonic()
        is_rescue_due = now - self._rescued_at >= self._rescue_every
        done: Pass | None = None
        try:
            done = maintain(rescuing=is_rescue_due, cleaner=self._cleaner)
        except Exception as error:  # noqa: BLE001 - the loop outlives whatever one pass meets
            events.PASS_FAILED(error=repr(error), exc_info=None if isinstance(error, TRANSIENT) else error)
            discard_broken(connection())
            self._failure = type(error).__name__  # its text may hold what a probe must not see
        else:
            self._failure = None
            self._rescued_at = now if is_rescue_due else self._rescued_at
        finally:
            give_back_pooled_connections()
        self._turned_at = time.monotonic()
        self.metrics.passed(done, self._turned_at - now)

    def hangs(self) -> str | None:
        """A health check: what is wrong with the loop."""
        silent = time.monotonic() - self._turned_at
        return f"no pass has ended for {silent:.0f} s" if silent > HANGING_AFTER else None

    def fails(self) -> str | None:
        """A health check: what became of the last pass."""
        failure = self._failure
        return f"the last pass failed: {failure}" if failure else None


class SideBeat(Beat):
    """Passes in a thread of their own, so that no signal has to wait for a database.

    Beside other work far fewer than the beat's: they keep a project without one going, and an idle process
    nearly silent.

    Args:
        periods: the least and the most seconds between two passes.
    """

    PERIODS = (5.0, 10.0)

    def __init__(self, periods: tuple[float, float] | None = None) -> None:
        super().__init__()
        self._periods = periods or self.PERIODS
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._turn_until_stopped, name="i3tasks-side-beat", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no further pass."""
        self._stopping.set()

    def ends(self, seconds: float) -> bool:
        """Wait at most so long for the pass that is being made; whether it has ended."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _turn_until_stopped(self) -> None:
        try:
            self.run(self._stopping.wait, *self._periods)
        finally:
            connections.close_all()


def run_beat(health_port: int | None) -> int:
    """Beat until SIGTERM or SIGINT.

    Args:
        health_port: where the health sidecar listens; None runs without it.

    Environment: ``I3TASKS_GRACE_SECONDS``, for the pass that is being made at the end.

    Returns:
        The exit code.

    Raises:
        CannotStart: the port is taken, or the grace is no number.
    """
    grace = environment_number("I3TASKS_GRACE_SECONDS", GRACE)
    beat = SideBeat((PERIOD, PERIOD))
    stopping = StopRequest()
    if health_port is not None:
        health_port = serve_health(
            health_port,
            "PORT",
            is_live=beat.hangs,
            ready=[pubsub_is_away, beat.fails],
            metrics=beat.metrics,
        )
    declare_in_background()
    events.SERVICE_STARTED(service="beat", detail=f"health_port={health_port}")
    beat.start()
    while not stopping.wait(PERIOD):
        pass
    beat.stop()
    # A pass that waits for a lock must not keep the process: what it writes is written whole or not at all.
    left_count = 0 if beat.ends(grace) else 1
    events.SERVICE_STOPPED(service="beat", running_count=left_count)
    return 0


def pubsub_is_away() -> str | None:
    """A health check: whether the last message could be published."""
    return "Pub/Sub does not answer" if runtime().publisher.breaker.is_open else None
