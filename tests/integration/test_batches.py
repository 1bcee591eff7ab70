"""Many tries at once: claimed together, settled together, lost together, and each as if it were alone."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

import messages
from concurrency import kept_open
from i3tasks_core import outcome
from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.finish import Finish
from i3tasks_core.outcome import Error
from i3tasks_django import ChainHandle, chain, group, store
from i3tasks_django.delivery import Delivery, SharedDelivery, Verdict
from i3tasks_django.maintenance import rescue_lost
from i3tasks_django.models import TaskExecution, TaskExecutionResult, TaskExecutionTry, TaskGroup
from i3tasks_django.runtime import runtime
from project import tasks
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

BROKEN = Error(error_class="ValueError", message="no", traceback="line 1")


def claim_all(*handles: ChainHandle) -> list[Claim]:
    bells = [messages.envelope_of(handle) for handle in handles]
    held = store.claim(bells, lease=timedelta(seconds=60), worker="w")
    return sorted(held, key=lambda claim: claim.try_id)


def members(of: TaskGroup) -> list[ChainHandle]:
    return [ChainHandle(row.pk) for row in TaskExecution.objects.filter(task_group=of)]


def claim_members(of: TaskGroup) -> list[Claim]:
    return claim_all(*members(of))


def expire(*claims: Claim) -> None:
    TaskExecutionTry.objects.filter(pk__in=[claim.try_id for claim in claims]).update(
        lease_until=Now() - timedelta(seconds=1)
    )


def succeeded(*claims: Claim) -> list[Finish]:
    return [Finish(claim, outcome.succeeded(claim.args)) for claim in claims]


def test_each_try_of_a_batch_ends_in_its_own_way():
    handles = [tasks.add.delay(number, 0) for number in range(5)]
    good, empty, bad, late, soon = claim_all(*handles)

    settlement = store.settle(
        [
            Finish(good, outcome.succeeded({"a": [1, 'quo"te', None]})),
            Finish(empty, outcome.succeeded(None)),
            Finish(bad, outcome.failed(BROKEN)),
            Finish(late, outcome.retried(BROKEN, timedelta(minutes=5))),
            Finish(soon, outcome.retried(BROKEN, timedelta(0))),
        ],
        patience=1,
    )

    assert settlement.ours == {claim.try_id for claim in (good, empty, bad, late, soon)}
    assert [messages.states(handle) for handle in handles] == [
        ["success"], ["success"], ["failed"], ["failed", "pending"], ["failed", "pending"],
    ]  # fmt: skip
    assert [messages.execution(handle).state for handle in handles] == [
        "success", "success", "failed", "pending", "pending",
    ]  # fmt: skip
    assert [row.result for row in TaskExecutionResult.objects.all()] == [{"a": [1, 'quo"te', None]}]
    error = messages.tries(handles[2])[0]
    assert (error.error_class, error.error_message, error.traceback) == ("ValueError", "no", "line 1")
    # The one with a delay is rung for by the relay.
    assert [bell.execution_id for bell in settlement.doorbells] == [handles[4].id]
    waiting = messages.tries(handles[3])[1]
    assert timedelta(minutes=4) < waiting.run_after - waiting.asked_at < timedelta(minutes=6)
    assert (waiting.try_number, waiting.publish_count, waiting.next_publish_at) == (2, 0, waiting.run_after)


def test_what_is_no_longer_ours_is_left_out_of_a_batch():
    first, second = tasks.add.delay(1, 2), tasks.send.delay()
    held = claim_all(first, second)
    expire(held[1])
    rescue_lost()

    settlement = store.settle(succeeded(*held), patience=1)

    assert settlement.ours == {held[0].try_id}
    assert messages.states(first) == ["success"]
    assert messages.states(second) == ["lost", "pending"]
    assert TaskExecution.objects.count() == 2  # its next step was not called
    assert TaskExecutionResult.objects.count() == 1


def test_a_batch_may_be_settled_again_when_the_answer_was_lost():
    held = claim_all(*(tasks.send.delay() for _ in range(3)))
    store.settle(succeeded(*held), patience=1)

    assert store.settle(succeeded(*held), patience=1).ours == {claim.try_id for claim in held}
    assert TaskExecution.objects.count() == 6
    assert TaskExecutionResult.objects.count() == 3


def test_members_that_end_together_are_counted_and_joined_once():
    joined = TaskGroup.dispatch(
        (tasks.add.s(number, 0) for number in range(4)), callback=tasks.log_sent.s("joined")
    )
    held = claim_members(joined)
    failed = Finish(held[3], outcome.retried(BROKEN, timedelta(0)))

    store.settle([*succeeded(*held[:3]), failed], patience=1)
    joined.refresh_from_db()
    assert (joined.completed_count, joined.status) == (3, "pending")

    store.settle(succeeded(*claim_members(joined)), patience=1)
    joined.refresh_from_db()
    assert (joined.completed_count, joined.failed_count, joined.status) == (4, 0, "success")
    assert TaskExecution.objects.filter(joins_group=joined).count() == 1


def test_members_of_two_groups_that_end_together_count_for_their_own():
    first, second = (
        TaskGroup.dispatch((tasks.add.s(number, 0) for number in range(2)), callback=tasks.log_sent.s(text))
        for text in ("a", "b")
    )
    store.settle(succeeded(*claim_members(first), *claim_members(second)), patience=1)

    assert [row.status for row in TaskGroup.objects.all()] == ["success", "success"]
    callbacks = TaskExecution.objects.filter(joins_group__isnull=False)
    assert sorted(row.task_args[0] for row in callbacks) == ["a", "b"]


def test_steps_after_a_batch_are_called_together():
    def statements(count: int) -> int:
        handles = [chain(tasks.add.s(number, 0), tasks.log_sent.s()).delay() for number in range(count)]
        held = claim_all(*handles)
        with CaptureQueriesContext(connection) as asked:
            settlement = store.settle(succeeded(*held), patience=1)
        assert len(settlement.doorbells) == count
        assert (
            TaskExecution.objects.filter(chained_from__in=[handle.id for handle in handles]).count() == count
        )
        return len(asked)

    assert statements(1) == statements(20)


def test_a_cancelled_call_of_a_batch_gets_no_further_try():
    kept, cancelled = tasks.add.delay(1, 2), tasks.add.delay(1, 2)
    held = claim_all(kept, cancelled)
    cancelled.cancel()

    store.settle([Finish(claim, outcome.retried(BROKEN, timedelta(0))) for claim in held], patience=1)

    assert messages.states(kept) == ["failed", "pending"]
    assert messages.states(cancelled) == ["failed"]
    assert messages.execution(cancelled).state == "cancelled"


def test_one_try_that_cannot_be_written_does_not_hold_up_its_neighbours(caplog):
    handles = [tasks.add.delay(number, 0) for number in range(3)]
    held = claim_all(*handles)
    unwritable = Finish(held[1], outcome.succeeded({1, 2}))  # no JSON
    caplog.clear()

    with caplog.at_level(logging.WARNING, "i3tasks"):
        Delivery(runtime()).settle([*succeeded(held[0]), unwritable, *succeeded(held[2])])

    assert [messages.states(handle) for handle in handles] == [["success"], ["running"], ["success"]]
    assert [record.event for record in caplog.records] == ["batch_failed", "try_unsettled"]


def test_a_full_batch_costs_as_many_statements_as_one_try():
    def statements(count: int) -> int:
        handles = [tasks.add.delay(number, 0) for number in range(count)]
        bells = [messages.envelope_of(handle) for handle in handles]
        with CaptureQueriesContext(connection) as asked:
            held = store.claim(bells, lease=timedelta(seconds=60), worker="w")
            store.settle(succeeded(*held), patience=1)
        return len(asked)

    alone, together = statements(1), statements(200)

    assert alone <= 6
    assert together == alone


def test_everything_a_silent_worker_held_is_rescued_at_once():
    handles = [tasks.add.delay(number, 0) for number in range(30)]
    alive = tasks.add.delay(0, 0)
    claim_all(alive)
    expire(*claim_all(*handles))

    with CaptureQueriesContext(connection) as asked:
        assert rescue_lost() == 30

    assert len(asked) <= 10
    assert {tuple(messages.states(handle)) for handle in handles} == {("lost", "pending")}
    assert messages.states(alive) == ["running"]


def test_released_tries_are_pending_again_and_those_of_others_are_not():
    mine, others = tasks.add.delay(1, 2), tasks.add.delay(1, 2)
    held = claim_all(mine, others)
    TaskExecutionTry.objects.filter(pk=held[1].try_id).update(fence=7)

    store.release(held)

    assert messages.states(mine) == ["pending"]
    assert messages.states(others) == ["running"]


def test_thousands_of_leases_are_renewed():
    tasks.add.delay_many([(number, 0) for number in range(1_200)])
    bells = [
        messages.bell_of(attempt) for attempt in TaskExecutionTry.objects.select_related("task_execution")
    ]
    held = store.claim(bells, lease=timedelta(seconds=60), worker="w")

    assert len(held) == 1_200
    assert store.heartbeat(held, timedelta(seconds=60)) == {claim.try_id for claim in held}


class TestPushesThatComeAtOnce:
    """As a receiver serves them."""

    def deliver(self, *bells: Envelope) -> list[Verdict]:
        delivery = SharedDelivery(runtime())

        def one(bell: Envelope) -> Verdict:
            try:
                return delivery.deliver(bell)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(bells)) as pool:
            return list(pool.map(one, bells))

    def test_each_is_run_once_and_told_what_became_of_it(self):
        handles = [tasks.add.delay(number, 0) for number in range(6)]
        early = tasks.add.using(run_after=3600).delay(1, 2)
        bells = [messages.envelope_of(handle) for handle in handles]

        verdicts = self.deliver(*bells, messages.envelope_of(early), *bells)

        assert sorted(verdict.name for verdict in verdicts) == ["NOTHING_TO_DO"] * 7 + ["SETTLED"] * 6
        assert {tuple(messages.states(handle)) for handle in handles} == {("success",)}
        assert messages.states(early) == ["pending"]

    def test_a_database_that_is_away_leaves_the_messages_to_come_again(self, monkeypatch):
        handle = tasks.add.delay(1, 2)

        def away(*_args: object, **_options: object) -> None:
            raise OperationalError("gone")

        monkeypatch.setattr("i3tasks_django.delivery.store.claim", away)
        with pytest.raises(OperationalError, match="gone"):
            self.deliver(messages.envelope_of(handle))

    def test_a_database_that_hangs_keeps_nobody_waiting_for_long(self, monkeypatch):
        began, go_on = threading.Event(), threading.Event()

        def hang(*_args: object, **_options: object) -> list[Claim]:
            began.set()
            go_on.wait(20)
            return []

        monkeypatch.setattr("i3tasks_django.delivery.store.claim", hang)
        delivery = SharedDelivery(runtime())
        bells = [messages.envelope_of(tasks.add.delay(1, 2)) for _ in range(2)]
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(delivery.deliver, bells[0])
            assert began.wait(20)
            monkeypatch.setattr("i3tasks_django.delivery._CLAIM_PATIENCE", 0.05)
            with pytest.raises(OperationalError, match="has not answered"):
                delivery.deliver(bells[1])
            go_on.set()
            assert first.result(20) is Verdict.NOTHING_TO_DO

    def test_what_is_claimed_too_late_is_handed_back(self, monkeypatch):
        go_on, claim = threading.Event(), store.claim

        def hang(*args: object, **options: object) -> list[Claim]:
            go_on.wait(20)
            return claim(*args, **options)

        monkeypatch.setattr("i3tasks_django.delivery.store.claim", hang)
        monkeypatch.setattr("i3tasks_django.delivery._CLAIM_PATIENCE", 0.05)
        handle = tasks.add.delay(1, 2)
        with pytest.raises(OperationalError, match="has not answered"):
            SharedDelivery(runtime()).deliver(messages.envelope_of(handle))
        go_on.set()

        wait_until(lambda: messages.tries(handle)[0].fence == 1 and messages.states(handle) == ["pending"])


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
class TestLocks:
    """On PostgreSQL; SQLite has one writer at a time."""

    def test_what_somebody_has_locked_is_not_waited_for(self):
        held, free = tasks.add.delay(1, 2), tasks.add.delay(3, 4)

        with kept_open(held.cancel):
            assert [claim.execution_id for claim in claim_all(held, free)] == [free.id]

    def test_claims_of_the_same_tries_in_another_order_do_not_deadlock(self, caplog):
        bells = [messages.envelope_of(tasks.add.delay(number, 0)) for number in range(100)]

        def take(order: list[Envelope]) -> int:
            try:
                return len(store.claim(order, lease=timedelta(seconds=60), worker="w"))
            finally:
                connections.close_all()

        caplog.clear()
        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(take, [bells, bells[::-1]])) == 100
        assert "database_retried" not in caplog.text

    def test_ends_that_somebody_keeps_from_being_written_hold_up_no_others(self):
        joined = group([tasks.add.s(1, 2)]).delay()
        (member,), (cancelled, free) = (
            claim_members(joined),
            claim_all(tasks.send.delay(), tasks.send.delay()),
        )

        def change() -> None:
            TaskGroup.objects.select_for_update().get(pk=joined.pk)
            ChainHandle(cancelled.execution_id).cancel()

        with kept_open(change):
            settlement = store.settle(succeeded(member, cancelled, free), patience=5, lock_patience=0.05)
            assert settlement.ours == {free.try_id}
            assert settlement.blocked == {member.try_id, cancelled.try_id}

        left = store.settle(succeeded(member, cancelled), patience=5, lock_patience=0.05)
        assert (left.ours, left.blocked) == ({member.try_id, cancelled.try_id}, frozenset())
        joined.refresh_from_db()
        assert joined.status == "success"

    def test_a_group_farther_up_that_somebody_keeps_locked_holds_up_no_others(self):
        inner = group([tasks.add.s(1, 2)])
        outer = group([inner, tasks.add.s(3, 4)]).delay()
        within = TaskGroup.objects.get(task_group=outer)
        (member,), free = claim_members(within), claim_all(tasks.add.delay(5, 6), tasks.add.delay(7, 8))

        with kept_open(lambda: TaskGroup.objects.select_for_update().get(pk=outer.pk)):
            settlement = store.settle(succeeded(member, *free), patience=5, lock_patience=0.05)

        assert settlement.ours == {claim.try_id for claim in free}
        assert settlement.blocked == {member.try_id}
        within.refresh_from_db()
        assert within.status == "pending"

    def test_a_worker_is_told_what_to_hand_in_again_and_keeps_its_lease(self):
        joined = group([tasks.add.s(1, 2)]).delay()
        bells = [messages.envelope_of(handle) for handle in members(joined)]
        delivery = Delivery(runtime())
        (claim,) = delivery._claim(bells)

        with kept_open(lambda: TaskGroup.objects.select_for_update().get(pk=joined.pk)):
            (blocked,) = delivery.settle(succeeded(claim))
            assert blocked.claim == claim
            assert claim.try_id in runtime().heart._held
        assert delivery.settle([blocked]) == []
        assert claim.try_id not in runtime().heart._held

    def test_a_silent_workers_try_of_a_locked_group_holds_up_no_rescue_of_others(self):
        joined = group([tasks.add.s(1, 2)]).delay()
        (member,), (free,) = claim_members(joined), claim_all(tasks.add.delay(3, 4))
        expire(member, free)

        with kept_open(lambda: TaskGroup.objects.select_for_update().get(pk=joined.pk)):
            assert store.rescue([member.try_id, free.try_id]).ours == {free.try_id}
        assert store.rescue([member.try_id]).ours == {member.try_id}

    def test_a_push_that_somebody_keeps_from_its_end_waits_and_the_others_do_not(self):
        joined = group([tasks.add.s(1, 2)]).delay()
        bells = [messages.envelope_of(handle) for handle in members(joined)]
        others = [messages.envelope_of(tasks.add.delay(number, 0)) for number in range(3)]
        delivery = SharedDelivery(runtime())

        def deliver(bell: Envelope) -> Verdict:
            try:
                return delivery.deliver(bell)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            with kept_open(lambda: TaskGroup.objects.select_for_update().get(pk=joined.pk)):
                blocked = pool.submit(deliver, bells[0])
                assert list(pool.map(deliver, others)) == [Verdict.SETTLED] * 3
                assert not blocked.done()
            assert blocked.result(20) is Verdict.SETTLED
