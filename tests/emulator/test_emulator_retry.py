"""Retry policies and dead letters."""

import time

import pytest
from emulator_client import PubSub, duration, eventually
from google.pubsub_v1.types import ReceivedMessage

ATTRIBUTES = {
    "CloudPubSubDeadLetterSourceSubscription",
    "CloudPubSubDeadLetterSourceSubscriptionProject",
    "CloudPubSubDeadLetterSourceDeliveryCount",
    "CloudPubSubDeadLetterSourceTopicPublishTime",
}


@pytest.fixture(autouse=True)
def topics(pubsub: PubSub) -> None:
    pubsub.topic()
    pubsub.topic("the-dead")
    pubsub.subscription("the-graveyard", topic="the-dead")


def with_dead_letters(pubsub: PubSub, **settings: object) -> str:
    policy = {"dead_letter_topic": pubsub.topic_path("the-dead"), "max_delivery_attempts": 5}
    return pubsub.subscription(dead_letter_policy=policy, **settings)


def exhumed(pubsub: PubSub) -> ReceivedMessage:
    """The dead letter. Google's emulator makes it when somebody pulls from the source again."""

    def look() -> list[ReceivedMessage]:
        assert pubsub.pull_now() == []
        return pubsub.pull_now("the-graveyard")

    (letter,) = eventually(look)
    return letter


def test_a_refused_message_rests_longer_each_time(pubsub: PubSub) -> None:
    pubsub.target.embedded_only("it rests for two or three seconds, and not at all the first time")
    policy = {"minimum_backoff": duration(0.1), "maximum_backoff": duration(0.3)}
    pubsub.subscription(retry_policy=policy)
    pubsub.publish(b"one")
    received = pubsub.pull_one()
    for rest in (0.1, 0.2, 0.3, 0.3):
        pubsub.nack(received)
        refused = time.monotonic()
        received = pubsub.pull_one()
        assert rest - 0.02 < time.monotonic() - refused < rest + 5


def test_an_expired_message_rests_too(pubsub: PubSub) -> None:
    policy = {"minimum_backoff": duration(0.5), "maximum_backoff": duration(0.5)}
    pubsub.subscription(retry_policy=policy)
    pubsub.publish(b"one")
    pubsub.modify(pubsub.pull_one(), seconds=1)
    shortened = time.monotonic()

    pubsub.pull_one()

    least = pubsub.target.differs(1.45, google=0.9, because="it has no backoff on expiry")
    assert least < time.monotonic() - shortened < 5


def test_a_message_that_is_refused_and_expires_too_often_becomes_a_dead_letter(pubsub: PubSub) -> None:
    with_dead_letters(pubsub)
    (message_id,) = pubsub.publish(b"poison", color="red")
    attempts = []
    for deadline in (0, 0, 0, 0, 1):
        received = pubsub.pull_one()
        attempts.append(received.delivery_attempt)
        pubsub.modify(received, seconds=deadline)

    letter = exhumed(pubsub)

    assert attempts == [1, 2, 3, 4, 5]
    attributes = dict(letter.message.attributes)
    assert attributes.keys() == ATTRIBUTES | {"color"}
    assert attributes["color"] == "red"
    assert attributes["CloudPubSubDeadLetterSourceSubscription"] == "the-subscription"
    assert attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] == pubsub.project.split("/")[1]
    assert attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert (
        received.message.publish_time.strftime("%Y-%m-%dT%H:%M:%S")
        in (attributes["CloudPubSubDeadLetterSourceTopicPublishTime"])
    )
    assert letter.message.data == b"poison"
    assert letter.message.message_id != message_id


def test_without_a_topic_for_dead_letters_the_message_is_tried_on(pubsub: PubSub) -> None:
    with_dead_letters(pubsub)
    path = pubsub.topic_path("the-dead")
    pubsub.publisher.delete_topic(topic=path, retry=None, timeout=10)
    pubsub.publish(b"stubborn")
    for _ in range(6):
        received = pubsub.pull_one()
        pubsub.nack(received)

    assert received.delivery_attempt == 6


def test_a_push_that_fails_too_often_becomes_a_dead_letter(pubsub: PubSub, endpoint) -> None:
    pubsub.target.embedded_only("its pushes rest three seconds between attempts, so five take too long")
    endpoint.answer = lambda request: 500
    with_dead_letters(
        pubsub,
        push_config={"push_endpoint": endpoint.url},
        retry_policy={"minimum_backoff": duration(0), "maximum_backoff": duration(0.1)},
    )
    pubsub.publish(b"poison")

    letter = pubsub.pull_one("the-graveyard")

    assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert [request.envelope["deliveryAttempt"] for request in endpoint.requests] == [1, 2, 3, 4, 5]
