"""RELEASE: hand a claimed try back as it was; it was not started, so it does not count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.database import alias, resilient

UNREGISTERED_DELAY = timedelta(seconds=30)


def release(claims: Sequence[Claim], patience: float = 4.0) -> None:
    """Make the tries pending again, due at once; the relay rings for them in its next pass."""
    _give_back(claims, timedelta(0), patience)


def postpone_unregistered(claim: Claim, patience: float = 4.0) -> None:
    """Hand back a try whose task nobody knows here yet: a deploy may be under way."""
    _give_back([claim], UNREGISTERED_DELAY, patience)


def _give_back(claims: Sequence[Claim], delay: timedelta, patience: float) -> None:
    mine = Q()
    for claim in claims:
        mine |= Q(pk=claim.try_id, fence=claim.fence)

    def write() -> int:
        return (
            TaskExecutionTry.objects.using(alias())
            .filter(mine, state=TryState.RUNNING)
            .update(
                state=TryState.PENDING,
                lease_until=None,
                started_at=None,
                worker="",
                next_publish_at=Now() + delay if delay else Now(),
                publish_count=0,
            )
        )

    resilient("release", write, patience)
