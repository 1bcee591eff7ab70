"""HEARTBEAT: extend the leases of everything one process runs, in one transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from i3tasks_core.claim import Claim
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.database import alias, free_of_locks, parts, resilient


def heartbeat(claims: Collection[Claim], lease: timedelta, patience: float = 4.0) -> set[int]:
    """The ids of the tries that are still ours; one that is missing has been given to somebody else.

    Args:
        claims: what this process runs.
        lease: how long they are ours from now.
        patience: seconds to go on trying while the database is away.
    """
    fences = {claim.try_id: claim.fence for claim in claims}
    kept: set[int] = set()
    for part in parts(fences):
        kept |= resilient("heartbeat", partial(_renew, {pk: fences[pk] for pk in part}, lease), patience)
    return kept


def _renew(fences: dict[int, int], lease: timedelta) -> set[int]:
    running = TaskExecutionTry.objects.using(alias()).filter(pk__in=fences, state=TryState.RUNNING)
    with transaction.atomic(using=alias(), durable=True):
        free = _mine(free_of_locks(running), fences)
        TaskExecutionTry.objects.using(alias()).filter(pk__in=free).update(lease_until=Now() + lease)
    # A row that somebody has locked right now, most likely our own settle, must not keep the others waiting:
    # one held lock would cost every lease of the process.
    return free | _mine(running, fences) if len(free) < len(fences) else free


def _mine(found: QuerySet[TaskExecutionTry], fences: dict[int, int]) -> set[int]:
    return {pk for pk, fence in found.values_list("pk", "fence") if fences[pk] == fence}
