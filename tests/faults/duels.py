"""Two of the store's verbs that want the same rows, and what the second one does while the first has them.

Of the clean-up and those who come in its way ``tests/integration/test_clean.py`` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import ticks
from django.db import transaction
from django.db.models.functions import Now

import messages
from i3tasks_core import outcome
from i3tasks_core.finish import Finish
from i3tasks_django import chain, group, store
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup, TaskSchedule, TaskScheduleTick
from i3tasks_django.scheduling import fire_due
from project import tasks

Action = Callable[[SimpleNamespace], Any]
LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Duel:
    """Who comes first, who comes second.

    Attributes:
        passes_by: the second one does not wait for what is locked, and so finds nothing to do.
        goes_on: afterwards the second one has something to do all the same; else it changes nothing.
    """

    prepare: Callable[[], SimpleNamespace]
    first: Action
    second: Action
    passes_by: bool = False
    goes_on: bool = False


def told() -> list[Any]:
    """All that there is, without what differs from one time to the next."""
    executions = [
        (row.task_name, row.state, len(row.chain), row.cancel_requested_at is not None, _tries(row))
        for row in TaskExecution.objects.order_by("pk")
    ]
    groups = TaskGroup.objects.order_by("pk").values_list("status", "completed_count", "failed_count")
    schedules = TaskSchedule.objects.order_by("pk").values_list("version", "cron", "next_run_at__year")
    return [executions, list(groups), list(schedules), TaskScheduleTick.objects.count()]


def _tries(row: TaskExecution) -> list[Any]:
    return list(row.tries.order_by("try_number").values_list("state", "fence", "publish_count"))


# --- the rows


def called() -> SimpleNamespace:
    handle = tasks.add.delay(1, 2)
    return SimpleNamespace(handle=handle, bell=messages.envelope_of(handle))


def claimed() -> SimpleNamespace:
    given = called()
    (given.claim,) = messages.claim(given.handle)
    return given


def expired() -> SimpleNamespace:
    given = claimed()
    TaskExecutionTry.objects.update(lease_until=Now() - timedelta(seconds=1))
    return given


def due_for_a_ring() -> SimpleNamespace:
    given = called()
    TaskExecutionTry.objects.update(next_publish_at=Now() - timedelta(seconds=1))
    return given


def two_members() -> SimpleNamespace:
    chain(group(tasks.add.s(1, 2), tasks.add.s(3, 4)), tasks.log_sent.s()).delay()
    bells = [messages.bell_of(row) for row in TaskExecutionTry.objects.order_by("pk")]
    one, other = store.claim(bells, lease=LEASE, worker="w")
    return SimpleNamespace(claim=one, other=other)


def due_schedule() -> SimpleNamespace:
    fire_due()  # looks once a minute whose the schedules are, which is none of the duel's business
    row = ticks.make_schedule("yearly", tasks.log_sent, cron="0 0 1 1 *")
    TaskSchedule.objects.filter(pk=row.pk).update(next_run_at=Now() - timedelta(seconds=1))
    row.refresh_from_db()
    return SimpleNamespace(row=row)


# --- the verbs


def claim(given: SimpleNamespace) -> Any:
    with transaction.atomic():  # a statement of its own otherwise, which nobody could hold
        return store.claim([given.bell], lease=LEASE, worker="w")


def finish(given: SimpleNamespace) -> Any:
    return store.settle([Finish(given.claim, outcome.succeeded(3))], patience=5)


def finish_the_other(given: SimpleNamespace) -> Any:
    return store.settle([Finish(given.other, outcome.succeeded(7))], patience=5)


def rescue(given: SimpleNamespace) -> Any:
    return store.rescue([given.claim.try_id])


def renew(given: SimpleNamespace) -> Any:
    return store.heartbeat([given.claim], LEASE)


def release(given: SimpleNamespace) -> Any:
    return store.release([given.claim])


def cancel(given: SimpleNamespace) -> Any:
    return given.handle.cancel()


def then(given: SimpleNamespace) -> Any:
    return given.handle.then(tasks.log_sent)


def relay(_given: SimpleNamespace) -> Any:
    with transaction.atomic():
        return store.due_doorbells(100)


def tick(_given: SimpleNamespace) -> Any:
    return fire_due()


def edit(given: SimpleNamespace) -> Any:
    with transaction.atomic():
        return store.edit(given.row, cron="0 12 1 1 *")


DUELS = {
    "claim, claim": Duel(called, claim, claim, passes_by=True),
    "cancel, claim": Duel(called, cancel, claim, passes_by=True),
    "claim, cancel": Duel(called, claim, cancel, goes_on=True),
    "rescue, finish": Duel(expired, rescue, finish),
    "finish, rescue": Duel(expired, finish, rescue, passes_by=True),
    "finish, finish": Duel(claimed, finish, finish),
    "finish, release": Duel(claimed, finish, release),
    "release, finish": Duel(claimed, release, finish),
    "finish, finish in one group": Duel(two_members, finish, finish_the_other, goes_on=True),
    "renew, rescue": Duel(expired, renew, rescue, passes_by=True),
    "rescue, rescue": Duel(expired, rescue, rescue, passes_by=True),
    "cancel, finish": Duel(claimed, cancel, finish, goes_on=True),
    "finish, cancel": Duel(claimed, finish, cancel),
    "then, finish": Duel(claimed, then, finish, goes_on=True),
    "finish, then": Duel(claimed, finish, then, goes_on=True),
    "relay, relay": Duel(due_for_a_ring, relay, relay, passes_by=True),
    "relay, claim": Duel(due_for_a_ring, relay, claim, passes_by=True, goes_on=True),
    "tick, tick": Duel(due_schedule, tick, tick, passes_by=True),
    "tick, edit": Duel(due_schedule, tick, edit, goes_on=True),
    "edit, tick": Duel(due_schedule, edit, tick, passes_by=True),
}
