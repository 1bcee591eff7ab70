"""One pass: fire the schedules that are due, ring for tries whose doorbell is due, rescue lost ones.

Safe to run anywhere, any number of times at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from i3tasks_core import events
from i3tasks_core.envelope import Envelope
from i3tasks_django import store
from i3tasks_django.delivery import rescue
from i3tasks_django.publishing import publish_declaring
from i3tasks_django.runtime import runtime
from i3tasks_django.scheduling import fire_due

RELAY_BATCH = 500
RELAY_MOST = 2_000
"""Tries that one pass looks at; the beat makes a pass a second."""

RESCUE_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass did."""

    fired_count: int
    published_count: int
    rescued_count: int


def maintain(*, rescuing: bool = True) -> Pass:
    """One pass.

    Args:
        rescuing: also look for lost tries; the beat does so six times a lease.
    """
    fired_count = fire_due()
    rescued_count = rescue_lost() if rescuing else 0
    return Pass(fired_count=fired_count, rescued_count=rescued_count, published_count=relay())


def relay() -> int:
    """Ring for what is due, and give back how often."""
    published_count = moved_count = 0
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


def rescue_lost() -> int:
    """Settle as lost what silent workers hold, and give back how many."""
    rescued_count = 0
    for try_id in store.expired(RESCUE_MOST):
        try:
            rescued_count += rescue(try_id)
        except Exception as error:  # noqa: BLE001 - one try that cannot be rescued must not keep the others
            events.RESCUE_FAILED(error=f"try {try_id}: {error!r}")
    return rescued_count


def _postpone_unheard(wanted: list[Envelope], rung: list[Envelope]) -> None:
    unheard = {envelope.try_id for envelope in wanted} - {envelope.try_id for envelope in rung}
    # A queue that is gone from the settings keeps its distances: it would be at the head of every pass.
    known = {envelope.try_id for envelope in wanted if envelope.queue_name in runtime().queues}
    if unheard & known:
        store.postpone(unheard & known)
