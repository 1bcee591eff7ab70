"""Doorbells ring after the commit, once a transaction, and never at the caller's expense."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now

import messages
from i3tasks_core import names
from i3tasks_core.envelope import Envelope, decode
from i3tasks_core.errors import PubSubUnavailable
from i3tasks_core.pubsub.subscriber import Subscriber
from i3tasks_django import store
from i3tasks_django.maintenance import maintain, relay
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import runtime
from project import tasks

pytestmark = pytest.mark.usefixtures("database")


def heavy_subscriber():
    path = names.subscription_path(
        runtime().pubsub.project_id, names.subscription_id(runtime().config.namespace, "heavy", "heavy-pull")
    )
    return Subscriber(runtime().clients, path)


def doorbells(count, timeout=5.0):
    """The try ids of the next ``count`` messages of the pull queue."""
    subscriber = heavy_subscriber()
    found = []
    deadline = time.monotonic() + timeout
    while len(found) < count and time.monotonic() < deadline:
        messages = subscriber.pull(100, timeout=1.0)
        found += [decode(m.data, m.attributes, runtime().keys).try_id for m in messages]
        if messages:
            subscriber.acknowledge([m.ack_id for m in messages])
    return sorted(found)


@pytest.fixture
def requests(monkeypatch):
    """How many messages each publish request carried, without a Pub/Sub."""
    runtime().publisher.breaker.reset()
    sizes = []
    monkeypatch.setattr(
        "i3tasks_core.pubsub.publisher.Publisher.publish",
        lambda _self, _topic, batch: sizes.append(len(batch)),
    )
    return sizes


def bell_of(attempt):
    return Envelope(try_id=attempt.pk, execution_id=attempt.task_execution_id, queue_name="heavy")


def all_tries():
    return list(TaskExecutionTry.objects.order_by("pk"))


def test_a_call_rings_when_it_is_committed(pubsub):
    declare()
    with transaction.atomic():
        tasks.add_heavy.delay(1, 2)
        assert doorbells(1, timeout=0.1) == []

    (attempt,) = all_tries()
    assert doorbells(1) == [attempt.pk]
    assert attempt.publish_count == 1
    assert timedelta(seconds=9) < attempt.next_publish_at - attempt.asked_at < timedelta(seconds=11)


def test_calls_of_one_transaction_share_one_request(requests):
    with transaction.atomic():
        for number in range(20):
            tasks.add_heavy.delay(number, 0)

    assert requests == [20]


def test_calls_of_two_queues_are_one_request_each(requests):
    with transaction.atomic():
        for number in range(3):
            tasks.add_heavy.delay(number, 0)
            tasks.add.delay(number, 0)

    assert requests == [3, 3]


def test_more_than_a_thousand_calls_are_split(requests):
    with transaction.atomic():
        for number in range(1001):
            tasks.add_heavy.delay(number, 0)

    assert requests == [1000, 1]


def test_what_a_savepoint_rolled_back_does_not_ring(requests):
    with transaction.atomic():
        with transaction.atomic():
            tasks.add_heavy.delay(0, 0)
            transaction.set_rollback(True)
        tasks.add_heavy.delay(1, 0)
        with transaction.atomic():
            tasks.add_heavy.delay(2, 0)

    assert sum(requests) == 2
    assert [attempt.publish_count for attempt in all_tries()] == [1, 1]


def test_a_rolled_back_transaction_leaves_nothing_for_the_next_one(requests):
    with transaction.atomic():
        tasks.add_heavy.delay(0, 0)
        transaction.set_rollback(True)
    tasks.add_heavy.delay(1, 0)

    assert requests == [1]


def test_a_delayed_call_does_not_ring_before_its_time(requests):
    tasks.add_heavy.using(run_after=timedelta(minutes=1)).delay(1, 2)
    assert relay() == 0
    TaskExecutionTry.objects.update(next_publish_at=Now())

    assert relay() == 1
    assert requests == [1]


def test_a_pubsub_that_is_away_costs_the_caller_a_moment_once_and_nothing_else():
    # The test project's settings name a port where nobody listens.
    began = time.monotonic()
    tasks.add_heavy.delay(1, 2)
    first = time.monotonic() - began
    began = time.monotonic()
    for number in range(20):
        tasks.add_heavy.delay(number, 2)
    others = time.monotonic() - began

    assert TaskExecutionTry.objects.filter(state="pending", publish_count=0).count() == 21
    assert first < 10  # two seconds of patience; the rest is a busy machine
    assert others < 10
    with pytest.raises(PubSubUnavailable, match="not tried"):
        runtime().publisher.publish("projects/test/topics/any", [])


def test_the_relay_rings_for_what_the_hook_could_not(embedded_pubsub):
    tasks.add_heavy.delay(1, 2)  # nothing is declared yet, so Pub/Sub refuses
    assert [attempt.publish_count for attempt in all_tries()] == [0]
    TaskExecutionTry.objects.update(next_publish_at=Now())

    assert relay() == 1  # it declares what is missing
    assert set(doorbells(1)) == {attempt.pk for attempt in all_tries()}


def test_what_rang_before_anybody_could_hear_it_rings_again_once_there_is_a_subscription(embedded_pubsub):
    tasks.add_heavy.delay(1, 2)
    tasks.add_heavy.using(run_after=3600).delay(1, 2)
    tasks.add.delay(1, 2)
    TaskExecutionTry.objects.update(publish_count=1, next_publish_at=Now() + timedelta(hours=1))

    declare([runtime().queue("heavy")])

    assert relay() == 1
    assert [attempt.publish_count for attempt in all_tries()] == [1, 1, 1]
    assert doorbells(1) == [all_tries()[0].pk]


def test_a_hook_that_raises_before_ours_costs_a_delay_and_no_task(requests):
    class Boom(Exception):
        pass

    def boom():
        raise Boom

    with pytest.raises(Boom), transaction.atomic():
        transaction.on_commit(boom)
        tasks.add_heavy.delay(1, 2)
    assert requests == []
    TaskExecutionTry.objects.update(next_publish_at=Now())

    assert relay() == 1


def test_whatever_goes_wrong_after_the_commit_never_reaches_the_caller(requests, monkeypatch):
    seen = []

    def boom(_ids):
        raise RuntimeError("the database went away")

    monkeypatch.setattr("i3tasks_django.ringing.store.postpone", boom)
    monkeypatch.setattr("i3tasks_django.ringing.publish", lambda _batch: [])
    with transaction.atomic():
        tasks.add_heavy.delay(1, 2)
        transaction.on_commit(lambda: seen.append("the hook after ours"))

    assert seen == ["the hook after ours"]


def test_the_relay_reserves_nothing_while_pubsub_is_known_to_be_away():
    tasks.add_heavy.delay(1, 2)
    TaskExecutionTry.objects.update(next_publish_at=Now())
    before = all_tries()[0].next_publish_at

    assert maintain().published_count == 0
    assert all_tries()[0].next_publish_at == before


def test_what_pubsub_did_not_take_is_due_again_soon_and_was_not_counted():
    tasks.add_heavy.delay(1, 2)
    runtime().publisher.breaker.reset()
    TaskExecutionTry.objects.update(next_publish_at=Now())

    assert relay() == 0
    (attempt,) = all_tries()
    assert attempt.publish_count == 0
    assert attempt.next_publish_at - attempt.asked_at < timedelta(seconds=30)


class TestABacklog:
    """A try whose message may well be waiting in the broker is not published again."""

    @pytest.fixture(autouse=True)
    def _quiet(self, requests):
        self.requests = requests

    def published(self, count, asked_ago):
        for number in range(count):
            tasks.add_heavy.delay(number, 0)
        TaskExecutionTry.objects.update(asked_at=Now() - asked_ago, next_publish_at=Now())
        self.requests.clear()

    def running(self, *, asked_ago):
        handle = tasks.write.delay("never", "run")
        tries = TaskExecutionTry.objects.filter(task_execution=handle.id)
        store.claim([messages.envelope_of(handle)], lease=timedelta(minutes=1), worker="w")
        tries.update(asked_at=Now() - asked_ago)
        self.requests.clear()

    def test_it_waits_on_while_its_queue_is_being_worked_off_in_order(self):
        self.published(3, asked_ago=timedelta(minutes=2))
        self.running(asked_ago=timedelta(minutes=3))

        assert relay() == 0
        for attempt in TaskExecutionTry.objects.filter(state="pending"):
            assert attempt.publish_count == 2

    def test_it_is_published_again_when_it_was_overtaken(self):
        self.published(3, asked_ago=timedelta(minutes=2))
        self.running(asked_ago=timedelta(seconds=100))

        assert relay() == 3

    def test_it_is_published_again_when_nobody_works_on_its_queue(self):
        self.published(3, asked_ago=timedelta(minutes=2))

        assert relay() == 3
        assert relay() == 0

    def test_what_a_crash_has_cost_a_try_already_does_not_wait_on(self):
        self.published(3, asked_ago=timedelta(minutes=2))
        struck = all_tries()[0]
        store.claim([bell_of(struck)], lease=timedelta(seconds=-1), worker="w")
        assert store.rescue([struck.pk]).ours
        TaskExecutionTry.objects.update(asked_at=Now() - timedelta(minutes=2), next_publish_at=Now())
        self.running(asked_ago=timedelta(minutes=3))

        assert relay() == 1

    def test_it_is_not_starved_by_calls_that_were_delayed_for_long(self):
        self.published(3, asked_ago=timedelta(minutes=2))
        self.running(asked_ago=timedelta(days=1))
        TaskExecutionTry.objects.filter(state="running").update(run_after=Now())

        assert relay() == 3

    def distances(self, count):
        found = []
        for _ in range(count):
            TaskExecutionTry.objects.update(next_publish_at=Now())
            before = all_tries()[0].next_publish_at
            relay()
            found.append((all_tries()[0].next_publish_at - before).total_seconds())
        return found

    def test_a_ring_that_was_counted_beforehand_is_asked_about_soon_and_then_ever_less_often(self):
        self.published(1, asked_ago=timedelta(minutes=2))

        expected = [20, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
        found = self.distances(len(expected))
        assert all(0.89 < got / want < 1.11 for got, want in zip(found, expected, strict=True)), found

    def test_a_ring_of_the_relays_own_is_asked_about_as_soon(self):
        self.published(1, asked_ago=timedelta(minutes=2))
        TaskExecutionTry.objects.update(publish_count=0)

        assert 0.89 < self.distances(1)[0] / 10 < 1.11

    def test_a_released_try_rings_in_the_next_pass(self):
        self.published(1, asked_ago=timedelta(minutes=2))
        claims = store.claim(
            [bell_of(attempt) for attempt in all_tries()], lease=timedelta(minutes=1), worker="w"
        )
        store.release(claims)

        assert relay() == 1


def test_a_pass_rescues_and_rings_for_the_successor(requests):
    tasks.add_heavy.delay(1, 2)
    store.claim([bell_of(all_tries()[0])], lease=timedelta(minutes=1), worker="w")
    TaskExecutionTry.objects.update(lease_until=Now() - timedelta(seconds=1))
    requests.clear()

    done = maintain()

    assert done.rescued_count == 1
    assert requests == [1]
    assert [attempt.state for attempt in all_tries()] == ["lost", "pending"]
