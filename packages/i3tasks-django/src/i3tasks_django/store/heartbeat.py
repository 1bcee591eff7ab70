"""HEARTBEAT: extend the leases of everything one process runs, in one transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.database import alias, free_of_locks, resilient


def heartbeat(claims: Collection[Claim], lease: timedelta, patience: float = 4.0) -> set[int]:
    """The ids of the tries that are still ours; one that is missing has been given to somebody else.

    Args:
        claims: what this process runs.
        lease: how long they are ours from now.
        patience: seconds to go on trying while the database is away.
    """
    mine = Q()
    for claim in claims:
        mine |= Q(pk=claim.try_id, fence=claim.fence)
    held = TaskExecutionTry.objects.using(alias()).filter(mine, state=TryState.RUNNING)

    def write() -> set[int]:
        with transaction.atomic(using=alias(), durable=True):
            free = set(free_of_locks(held).values_list("pk", flat=True))
            held.filter(pk__in=free).update(lease_until=Now() + lease)
            return free

    kept = resilient("heartbeat", write, patience)
    # A row that somebody has locked right now, most likely our own settle, must not keep the others waiting:
    # one held lock would cost every lease of the process.
    locked = {claim.try_id for claim in claims} - kept
    return kept | set(held.filter(pk__in=locked).values_list("pk", flat=True)) if locked else kept
