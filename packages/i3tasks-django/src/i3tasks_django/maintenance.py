"""One pass: fire the schedules that are due, rescue lost tries, ring where the doorbell is due, clean up.

Safe to run anywhere, any number of times at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from i3tasks_core import events
from i3tasks_core.envelope import Envelope
from i3tasks_core.errors import PubSubError
from i3tasks_django import store
from i3tasks_django.delivery import rescue
from i3tasks_django.publishing import publish_declaring
from i3tasks_django.runtime import runtime
from i3tasks_django.scheduling import fire_due
from i3tasks_django.store.database import parts

RELAY_BATCH = 500
RELAY_MOST = 2_000
"""Tries that one pass looks at; the beat makes a pass a second."""

RESCUE_MOST = 2_000
RESCUE_BUDGET = 5.0
"""Seconds after which a pass begins no further rescue: on a slow database it would be taken for hanging."""

CLEAN_EVERY = 60.0
CLEAN_BUDGET = 2.0
"""Seconds after which a pass begins no further batch; the next one goes on there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass did."""

    fired_count: int
    published_count: int
    rescued_count: int
    cleaned_count: int


class Cleaner:
    """The clean-up, a little once a minute: it remembers where it stopped."""

    def __init__(self) -> None:
        self._cleaned_at = float("-inf")
        self._batches: Iterator[store.Cleaned] | None = None
        self._kept_count = self._told_count = 0

    def clean(self) -> int:
        """Delete for two seconds, if the settings ask for it and it is time again; how many rows."""
        older_than = runtime().config.autoclean_older_than
        began_at = time.monotonic()
        if older_than is None or began_at - self._cleaned_at < CLEAN_EVERY:
            return 0
        self._cleaned_at = began_at
        batches, self._batches = self._batches or store.clean(older_than), None
        cleaned_count = 0
        for cleaned in batches:
            cleaned_count += cleaned.count
            self._kept_count += cleaned.kept_count
            if time.monotonic() - began_at > CLEAN_BUDGET:
                self._batches = batches
                break
        else:
            self._tell_kept()
        return cleaned_count

    def _tell_kept(self) -> None:
        """Say how many rows this walk has passed by because others point at them; not the same again."""
        if self._kept_count != self._told_count:
            events.ROWS_KEPT(count=self._kept_count)
        self._kept_count, self._told_count = 0, self._kept_count


def maintain(*, rescuing: bool = True, cleaner: Cleaner | None = None) -> Pass:
    """One pass.

    Args:
        rescuing: also look for lost tries; the beat does so six times a lease.
        cleaner: whoever makes many passes keeps one; without it this pass cleans up from the start.
    """
    failures: list[Exception] = []
    done = Pass(
        fired_count=_attempt(fire_due, failures),
        rescued_count=_attempt(rescue_lost, failures) if rescuing else 0,
        published_count=_attempt(relay, failures),
        cleaned_count=_attempt((cleaner or Cleaner()).clean, failures),
    )
    if failures:
        raise failures[0]
    return done


def _attempt(part: Callable[[], int], failures: list[Exception]) -> int:
    """One part of a pass; what goes wrong in it keeps no other part from its work."""
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - raised when all parts have been tried
        failures.append(error)
        return 0


def relay() -> int:
    """Ring for what is due, and give back how often."""
    published_count = moved_count = 0
    _open_publisher()
    # While Pub/Sub is known to be away nothing is reserved, so nothing has to wait out its distance later.
    while moved_count < RELAY_MOST and not runtime().publisher.breaker.is_open:
        wanted, reserved_count = store.due_doorbells(RELAY_BATCH)
        moved_count += reserved_count
        rung = publish_declaring(wanted)
        published_count += len(rung)
        _postpone_unheard(wanted, rung)
        if reserved_count < RELAY_BATCH:
            break
    return published_count


def _open_publisher() -> None:
    """Before anything is reserved: what a beat reserves and is killed before it rings for comes later."""
    publisher = runtime().publisher
    try:
        if not publisher.breaker.is_open:
            publisher.open()
    except PubSubError as error:
        events.PUBLISH_FAILED(queue="", count=0, error=str(error))


def rescue_lost() -> int:
    """Settle as lost what silent workers hold, and give back how many."""
    rescued_count = 0
    deadline = time.monotonic() + RESCUE_BUDGET
    waiting = deque(parts(store.expired(RESCUE_MOST)))
    while waiting and time.monotonic() < deadline:
        batch = waiting.popleft()
        try:
            rescued_count += rescue(batch)
        except Exception as error:  # noqa: BLE001 - one try that cannot be rescued must not keep the others
            events.RESCUE_FAILED(error=f"{len(batch)} tries from {batch[0]} on: {error!r}")
            if len(batch) > 1:
                waiting.extend([try_id] for try_id in batch)
    return rescued_count


def _postpone_unheard(wanted: list[Envelope], rung: list[Envelope]) -> None:
    unheard = {envelope.try_id for envelope in wanted} - {envelope.try_id for envelope in rung}
    # A queue that is gone from the settings keeps its distances: it would be at the head of every pass.
    known = {envelope.try_id for envelope in wanted if envelope.queue_name in runtime().queues}
    if unheard & known:
        store.postpone(unheard & known)
