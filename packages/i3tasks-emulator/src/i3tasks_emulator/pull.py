"""Pull: a batch of what is ready, or a wait for the first message."""

import asyncio
import contextlib

from i3tasks_emulator.broker import Broker
from i3tasks_emulator.consumer import Consumer
from i3tasks_emulator.errors import failed_precondition, invalid
from i3tasks_emulator.subscription import Subscription, Taken
from i3tasks_emulator.wire import Proto, PullResponse

MAX_MESSAGES = 1_000
MAX_WAIT_SECONDS = 90.0


def pull_source(broker: Broker, name: str) -> Subscription:
    """The subscription to pull from; FAILED_PRECONDITION when its messages are pushed."""
    subscription = broker.subscription(name)
    if subscription.is_push:
        raise failed_precondition("This method is not supported for this subscription type: it is a push one")
    return subscription


def fill(received_messages: Proto, taken: Taken, subscription: Subscription) -> None:
    """Write leased messages into a response. Attempts are counted for all and told only with dead letters."""
    add = received_messages.add
    if subscription.has_dead_letters:
        for ack_id, delivery in taken:
            add(ack_id=ack_id, message=delivery.message, delivery_attempt=delivery.attempts)
    else:
        for ack_id, delivery in taken:
            add(ack_id=ack_id, message=delivery.message)


async def pull(broker: Broker, request: Proto, seconds_left: float | None) -> Proto:
    """Answer a PullRequest.

    Args:
        broker: where the subscription is.
        request: the PullRequest.
        seconds_left: until the caller gives up; None when it never does.

    Raises:
        StatusError: NOT_FOUND, also when the subscription is deleted meanwhile; FAILED_PRECONDITION for a
            push subscription; INVALID_ARGUMENT for `max_messages` below 1; UNAVAILABLE when the server stops.
    """
    if request.max_messages <= 0:
        raise invalid("No max_messages specified, or it is not positive")
    subscription = pull_source(broker, request.subscription)
    limit = min(request.max_messages, MAX_MESSAGES)
    consumer = Consumer()
    taken = subscription.take(consumer, limit, lease_seconds=subscription.lease_seconds)
    if not taken and not request.return_immediately:
        taken = await _wait(subscription, consumer, limit, _patience(seconds_left))
    response = PullResponse()
    fill(response.received_messages, taken, subscription)
    return response


async def _wait(subscription: Subscription, consumer: Consumer, limit: int, patience: float) -> Taken:
    taken: Taken = []
    with subscription.attached(consumer), contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            # Nothing awaits between taking and returning: a timeout or a caller who hangs up never finds
            # messages in the hands of this function, which would sit out their lease unseen.
            while not taken:
                consumer.wake.clear()
                subscription.raise_if_closed()
                taken = subscription.take(consumer, limit, lease_seconds=subscription.lease_seconds)
                if not taken:
                    await consumer.wake.wait()
    return taken


def _patience(seconds_left: float | None) -> float:
    """Answer empty before the caller gives up: messages in an answer nobody awaits are late by a lease."""
    if seconds_left is None:
        return MAX_WAIT_SECONDS
    return min(MAX_WAIT_SECONDS, max(0.05, seconds_left - min(1.0, seconds_left * 0.2)))
