"""RESCUE: settle as lost what silent workers hold."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models.functions import Now

from i3tasks_core import outcome
from i3tasks_core.finish import Finish
from i3tasks_core.states import TryState
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.claim import CLAIMED, as_claim
from i3tasks_django.store.database import alias, by_id, connection, dialect, free_of_locks, resilient, rows
from i3tasks_django.store.given import given, parameter
from i3tasks_django.store.settle import STALE, Settlement, end_tried, free_executions
from i3tasks_django.store.watch import watch


def expired(limit: int, among: Sequence[int] | None = None) -> list[int]:
    """Ids of running tries whose lease is over.

    Args:
        limit: at most so many.
        among: look only at these.
    """
    tries = TaskExecutionTry.objects.using(alias()).filter(state=TryState.RUNNING, lease_until__lt=Now())
    if among is not None:
        tries = tries.filter(pk__in=among)
    with watch.over(connection()):
        return list(tries.order_by("pk").values_list("pk", flat=True)[:limit])


def rescue(try_ids: Sequence[int], patience: float = 4.0) -> Settlement:
    """Give up tries whose lease is over and write their successors, where they are allowed one.

    The guard is part of the UPDATE: reading first and writing later would reopen a try that was finished
    in between.

    Returns:
        Those that were lost, and not finished or rescued by somebody else, and their successors' doorbells.
    """

    def write() -> Settlement:
        with transaction.atomic(using=alias(), durable=True):
            return _rescue(try_ids)

    return resilient("rescue", write, patience)


def _rescue(try_ids: Sequence[int]) -> Settlement:
    # A row that is locked is being settled, or will be looked at again: the beat must not wait for it.
    silent = TaskExecutionTry.objects.using(alias()).filter(
        pk__in=try_ids, state=TryState.RUNNING, lease_until__lt=Now()
    )
    execution_of = dict(free_of_locks(silent).values_list("pk", "task_execution"))
    writable = free_executions(execution_of.values())
    free = [pk for pk, execution_id in execution_of.items() if execution_id in writable]
    if not free:
        return STALE
    words, error = dialect(), outcome.LOST
    sql = _SQL.format(
        now=words.now,
        is_running=by_id(TryState.RUNNING),
        given=given(len(free), try_id="bigint"),
        claimed=CLAIMED.format(words=words),
    )
    params = [error.error_class, error.message, parameter({"try_id": pk} for pk in free)]
    claims = [as_claim(row) for row in rows(sql, params)]
    finishes = [Finish(claim, outcome.lost(has_retries_left=claim.has_retries_left)) for claim in claims]
    return Settlement(ours=frozenset(claim.try_id for claim in claims), doorbells=end_tried(finishes))


_SQL = """
UPDATE i3tasks_django_taskexecutiontry AS attempt
SET state = 'lost', finished_at = {now}, lease_until = NULL, error_class = %s, error_message = %s
FROM {given}
WHERE attempt.id = given.try_id AND {is_running} AND lease_until < {now}
RETURNING {claimed}
"""
