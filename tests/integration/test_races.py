"""Two at once: whoever comes second waits, sees what happened, and changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now

import messages
from concurrency import at_once
from i3tasks_core import outcome
from i3tasks_core.finish import Finish
from i3tasks_core.outcome import Error
from i3tasks_django import store
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

LEASE = timedelta(seconds=60)
ROUNDS = 25


def claim(handle):
    return store.claim([messages.envelope_of(handle)], lease=LEASE, worker="w")


def expire():
    TaskExecutionTry.objects.filter(state="running").update(lease_until=Now() - timedelta(seconds=1))


def test_many_claims_of_the_same_tries_share_them_out():
    for _ in range(5):
        with transaction.atomic():
            bells = [messages.envelope_of(tasks.nothing.delay()) for _ in range(20)]

        won = at_once(
            *[
                lambda order=order: store.claim(order, lease=LEASE, worker="w")
                for order in (bells, bells[::-1], bells, bells[::-1])
            ]
        )

        claimed = [held.try_id for claims in won for held in claims]
        assert sorted(claimed) == [bell.try_id for bell in bells]


def test_a_finish_and_a_rescue_of_the_same_try_leave_one_end():
    for _ in range(ROUNDS):
        handle = tasks.nothing.delay()
        (held,) = claim(handle)
        expire()

        settled, rescued = at_once(
            lambda held=held: store.settle([Finish(held, outcome.succeeded(1))], patience=5),
            lambda held=held: store.rescue([held.try_id]),
        )

        assert settled.is_ours is not rescued.is_ours
        expected = ["success"] if settled.is_ours else ["lost", "pending"]
        assert messages.states(handle) == expected


def test_two_rescues_of_the_same_try_leave_one_successor():
    for _ in range(ROUNDS):
        handle = tasks.nothing.delay()
        (held,) = claim(handle)
        expire()

        first, second = at_once(*[lambda held=held: store.rescue([held.try_id])] * 2)

        assert first.is_ours is not second.is_ours
        assert messages.states(handle) == ["lost", "pending"]


def test_a_cancel_and_a_claim_leave_the_call_to_one_of_them():
    for _ in range(ROUNDS):
        handle = tasks.nothing.delay()

        cancelled, won = at_once(handle.cancel, lambda handle=handle: claim(handle))

        assert bool(cancelled) is not bool(won)
        assert messages.states(handle) == (["cancelled"] if cancelled else ["running"])


def test_a_cancel_and_a_failing_finish_leave_no_try_behind():
    error = Error(error_class="ValueError", message="no luck")
    for _ in range(ROUNDS):
        handle = tasks.nothing.delay()
        (held,) = claim(handle)

        at_once(
            handle.cancel,
            lambda held=held: store.settle(
                [Finish(held, outcome.retried(error, timedelta(minutes=1)))], patience=5
            ),
        )

        assert TaskExecution.objects.get(pk=handle.id).state == "cancelled"
        assert "pending" not in messages.states(handle)


def test_a_cancel_and_a_release_leave_no_try_behind():
    for _ in range(ROUNDS):
        handle = tasks.nothing.delay()
        (held,) = claim(handle)

        at_once(handle.cancel, lambda held=held: store.release([held]))

        assert TaskExecution.objects.get(pk=handle.id).state == "cancelled"
        assert messages.states(handle) == ["cancelled"]


class TestARowThatSomebodyHolds:
    """One held lock keeps neither a process's other leases from being renewed nor the beat from its work."""

    @pytest.fixture
    def held(self, database):
        if database.vendor == "sqlite":
            pytest.skip("SQLite locks the whole database, and its writers wait for each other")
        handles = [tasks.nothing.delay() for _ in range(2)]
        claims = [claim(handle)[0] for handle in handles]
        expire()
        other = connections.create_connection("default")
        other.set_autocommit(False)
        with other.cursor() as cursor:
            table = TaskExecutionTry._meta.db_table
            cursor.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE", [claims[0].try_id])
        yield claims
        other.rollback()
        other.close()

    @pytest.mark.timeout(30)
    def test_a_heartbeat_renews_the_others_and_gives_nothing_up(self, held):
        locked, free = held

        assert store.heartbeat(held, LEASE) == {locked.try_id, free.try_id}
        assert store.expired(10) == [locked.try_id]

    @pytest.mark.timeout(30)
    def test_a_rescue_passes_it_by(self, held):
        locked, free = held

        assert not store.rescue([locked.try_id]).is_ours
        assert store.rescue([free.try_id]).is_ours


def test_two_relays_ring_once_for_each_try():
    with transaction.atomic():
        for _ in range(40):
            tasks.nothing.delay()
    TaskExecutionTry.objects.update(next_publish_at=Now() - timedelta(seconds=1))

    (first, _), (second, _) = at_once(*[lambda: store.due_doorbells(100)] * 2)

    rung = [envelope.try_id for envelope in (*first, *second)]
    assert len(rung) == len(set(rung)) == 40


def test_two_people_asking_for_another_try_get_one():
    for _ in range(5):
        handle = tasks.fail_for_good.delay()
        messages.deliver(handle)

        first, second = at_once(*[lambda handle=handle: store.reopen(handle.id)] * 2)

        assert (first is None) is not (second is None)
        assert messages.states(handle) == ["failed", "pending"]
