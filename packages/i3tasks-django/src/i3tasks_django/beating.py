"""Run the beat in this process until a signal ends it."""

from __future__ import annotations

import time

from i3tasks_core import events
from i3tasks_django.maintenance import maintain
from i3tasks_django.publishing import declare_in_background
from i3tasks_django.runtime import runtime
from i3tasks_django.service import CannotStart
from i3tasks_django.sidecar import serve_health
from i3tasks_django.signals import StopRequest
from i3tasks_django.store.database import TRANSIENT, connection, discard_broken

PERIOD = 1.0
"""Seconds between two passes."""

HANGING_AFTER = 30.0
"""Seconds without a finished pass after which the beat calls itself dead."""


class Beat:
    """The maintenance loop: a relay in every pass, a rescue six times a lease."""

    def __init__(self) -> None:
        self._rescue_every = runtime().config.lease.total_seconds() / 6
        self._rescued_at = float("-inf")
        self._turned_at = time.monotonic()
        self._failure: str | None = None

    def turn(self) -> None:
        """One pass. A database or Pub/Sub that is away is logged and tried again in the next."""
        now = time.monotonic()
        is_rescue_due = now - self._rescued_at >= self._rescue_every
        try:
            maintain(rescuing=is_rescue_due)
        except Exception as error:  # noqa: BLE001 - the loop outlives whatever one pass meets
            events.PASS_FAILED(error=repr(error), exc_info=None if isinstance(error, TRANSIENT) else error)
            discard_broken(connection())
            self._failure = type(error).__name__  # its text may hold what a probe must not see
        else:
            self._failure = None
            self._rescued_at = now if is_rescue_due else self._rescued_at
        self._turned_at = time.monotonic()

    def hangs(self) -> str | None:
        """A health check: what is wrong with the loop."""
        silent = time.monotonic() - self._turned_at
        return f"no pass has ended for {silent:.0f} s" if silent > HANGING_AFTER else None

    def fails(self) -> str | None:
        """A health check: what became of the last pass."""
        failure = self._failure
        return f"the last pass failed: {failure}" if failure else None


def run_beat(health_port: int | None) -> int:
    """Beat until SIGTERM or SIGINT.

    Args:
        health_port: where the health sidecar listens; None runs without it.

    Returns:
        The exit code.

    Raises:
        CannotStart: the port is taken.
    """
    beat = Beat()
    stopping = StopRequest()
    if health_port is not None:
        health_port = _serve_health(health_port, beat)
    declare_in_background()
    events.SERVICE_STARTED(service="beat", detail=f"health_port={health_port}")
    while not stopping.wait(PERIOD):
        beat.turn()
    events.SERVICE_STOPPED(service="beat", running_count=0)
    return 0


def _serve_health(port: int, beat: Beat) -> int:
    try:
        return serve_health(port, is_live=beat.hangs, ready=[_pubsub_is_away, beat.fails])
    except OSError as error:
        raise CannotStart(
            f"the health sidecar cannot listen on port {port}: {error}; set PORT to a free one"
        ) from error


def _pubsub_is_away() -> str | None:
    return "Pub/Sub does not answer" if runtime().publisher.breaker.is_open else None
