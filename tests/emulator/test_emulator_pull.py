"""Publish, pull, acknowledge, and what comes back."""

import threading
import time

import pytest
from emulator_client import PubSub, eventually
from google.api_core.exceptions import NotFound


@pytest.fixture(autouse=True)
def subscribed(pubsub: PubSub) -> None:
    pubsub.topic()
    pubsub.subscription()


def test_a_message_arrives_as_it_was_published(pubsub: PubSub) -> None:
    before = time.time()
    (message_id,) = pubsub.publish(b"hello", color="red")

    received = pubsub.pull_one()

    assert received.message.data == b"hello"
    assert dict(received.message.attributes) == {"color": "red"}
    assert received.message.message_id == message_id
    assert before - 1 <= received.message.publish_time.timestamp() <= time.time() + 1
    assert received.delivery_attempt == 0, "attempts are told only with a dead-letter policy"


def test_every_subscription_gets_its_own_copy(pubsub: PubSub) -> None:
    pubsub.subscription("the-other")
    pubsub.publish(b"one")

    pubsub.ack(pubsub.pull_one())

    assert pubsub.pull_one("the-other").message.data == b"one"


def test_a_subscription_sees_nothing_from_before_it_existed(pubsub: PubSub) -> None:
    pubsub.publish(b"early")
    pubsub.subscription("late-comer")
    pubsub.publish(b"late")

    assert pubsub.pull_one("late-comer").message.data == b"late"


def test_messages_of_one_request_arrive_in_order_with_ids_in_order(pubsub: PubSub) -> None:
    ids = pubsub.publish(*(b"%d" % number for number in range(50)))

    received = pubsub.pull(at_most=50)

    assert [each.message.data for each in received] == [b"%d" % number for number in range(50)]
    assert [each.message.message_id for each in received] == ids
    assert len(set(ids)) == 50


def test_one_pull_takes_a_thousand(pubsub: PubSub) -> None:
    pubsub.publish(*[b"x"] * 1000)

    count = len(pubsub.pull(at_most=2000))

    assert count == pubsub.target.differs(1000, google=100, because="it hands out at most 100 a pull")


def test_a_waiting_pull_is_woken_by_a_publish(pubsub: PubSub) -> None:
    arrived: list[float] = []

    def wait() -> None:
        pubsub.pull_one(within=20)
        arrived.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    # Given a pull that waits; whether it is there already makes no difference to what must follow.
    waiting.join(0.3)
    published = time.monotonic()
    pubsub.publish(b"now")
    waiting.join(10)

    assert arrived
    assert arrived[0] - published < 5  # one that nobody wakes waits for twenty seconds


def test_two_waiting_pulls_share_what_is_published(pubsub: PubSub) -> None:
    received: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: received.append(pubsub.pull_one(within=20).message.data))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    pubsub.publish(b"a", b"b")
    for thread in threads:
        thread.join(10)

    assert sorted(received) == [b"a", b"b"]


def test_an_empty_pull_answers_before_its_caller_gives_up(pubsub: PubSub) -> None:
    path = pubsub.subscription_path("the-subscription")
    started = time.monotonic()

    answer = pubsub.subscriber.pull(subscription=path, max_messages=1, retry=None, timeout=3.0)

    assert not answer.received_messages
    assert 0.3 < time.monotonic() - started < 3.0


def test_a_pull_that_shall_not_wait_does_not(pubsub: PubSub) -> None:
    started = time.monotonic()

    assert pubsub.pull_now() == []
    assert time.monotonic() - started < 5  # one that waits would wait for nine seconds


def test_a_pull_of_a_subscription_that_is_deleted_ends(pubsub: PubSub) -> None:
    pubsub.target.embedded_only("it lets the pull wait on")
    errors: list[Exception] = []

    def wait() -> None:
        try:
            pubsub.pull(within=20)
        except NotFound as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.2)
    path = pubsub.subscription_path("the-subscription")
    pubsub.subscriber.delete_subscription(subscription=path, retry=None, timeout=10)
    waiting.join(10)

    assert errors


def test_a_leased_message_is_given_to_nobody_else(pubsub: PubSub) -> None:
    pubsub.publish(b"one")
    pubsub.pull_one()

    assert pubsub.pull_now() == []


def test_a_message_comes_back_when_its_lease_ends_unless_acked_or_prolonged(pubsub: PubSub) -> None:
    pubsub.publish(b"acked", b"prolonged", b"left")
    acked, prolonged, left = pubsub.pull(at_most=3)
    pubsub.modify(acked, prolonged, left, seconds=1)
    shortened = time.monotonic()
    pubsub.ack(acked)
    pubsub.modify(prolonged, seconds=60)

    again = pubsub.pull_one()

    assert 0.9 < time.monotonic() - shortened < 6  # its first lease was one of ten seconds
    assert again.message.message_id == left.message.message_id
    assert again.ack_id != left.ack_id
    assert pubsub.pull_now() == []


def test_a_refused_message_comes_back_at_once(pubsub: PubSub) -> None:
    pubsub.publish(b"one")
    pubsub.nack(pubsub.pull_one())

    assert pubsub.pull_one(within=2).message.data == b"one"


def test_acknowledging_twice_is_fine(pubsub: PubSub) -> None:
    pubsub.publish(b"one")
    received = pubsub.pull_one()

    pubsub.ack(received)
    pubsub.ack(received)

    assert pubsub.pull_now() == []


def test_an_ack_that_comes_too_late_settles_nothing(pubsub: PubSub) -> None:
    pubsub.publish(b"one")
    first = pubsub.pull_one()
    pubsub.nack(first)
    second = pubsub.pull_one()

    pubsub.ack(first)
    pubsub.nack(second)

    assert eventually(pubsub.pull_now)[0].message.data == b"one"
