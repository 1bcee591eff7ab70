"""The broker: all topics and subscriptions, and the way of a message from the one to the other."""

import itertools
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from i3tasks_emulator.errors import StatusError, not_found
from i3tasks_emulator.names import check_name
from i3tasks_emulator.subscription import Subscription
from i3tasks_emulator.wire import Proto, copy_of, timestamp


@dataclass(slots=True)
class Topic:
    """The google.pubsub.v1.Topic and its subscriptions by full name."""

    settings: Proto
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


class Broker:
    """Everything lives in memory and on one event loop; a restart forgets it all."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        # A consumer may outlive a restart of this server. Neither the ack ids it still holds nor the message
        # ids it remembers may then mean a message of the new life.
        self._boot = secrets.token_hex(4)
        self._message_ids = itertools.count(time.time_ns() // 1_000)
        self._subscription_numbers = itertools.count(1)

    def topic(self, name: str) -> Topic:
        """Raises NOT_FOUND, or INVALID_ARGUMENT for what is no topic name."""
        topic = self.topics.get(name)
        if topic is None:
            check_name(name, "topics")
            raise not_found("Topic not found", name)
        return topic

    def subscription(self, name: str) -> Subscription:
        """Raises NOT_FOUND, or INVALID_ARGUMENT for what is no subscription name."""
        subscription = self.subscriptions.get(name)
        if subscription is None:
            check_name(name, "subscriptions")
            raise not_found("Subscription does not exist", name)
        return subscription

    def subscribe(self, settings: Proto) -> Subscription:
        """Add a subscription with checked settings to its topic."""
        prefix = f"{self._boot}-{next(self._subscription_numbers)}"
        subscription = Subscription(settings, prefix, self._forward)
        self.subscriptions[subscription.name] = subscription
        self.topics[settings.topic].subscriptions[subscription.name] = subscription
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        del self.subscriptions[subscription.name]
        topic = self.topics.get(subscription.settings.topic)
        if topic is not None:
            del topic.subscriptions[subscription.name]
        subscription.close(not_found("Subscription does not exist", subscription.name))

    def delete_topic(self, name: str) -> None:
        """The subscriptions stay with what they hold; a new topic of the name does not get them back."""
        topic = self.topic(name)
        del self.topics[name]
        for subscription in topic.subscriptions.values():
            orphaned = copy_of(subscription.settings)
            orphaned.topic = "_deleted-topic_"
            subscription.configure(orphaned)

    def publish(self, topic: Topic, messages: Sequence[Proto]) -> list[str]:
        """Stamp the messages, hand them to every subscription of the topic and return their ids."""
        published_at = timestamp(time.time_ns())
        for message in messages:
            message.message_id = str(next(self._message_ids))
            message.publish_time.CopyFrom(published_at)
        sizes = [message.ByteSize() for message in messages]
        for subscription in topic.subscriptions.values():
            subscription.enqueue(messages, sizes)
        return [message.message_id for message in messages]

    def close(self, reason: StatusError) -> None:
        """End every waiting pull and open stream with `reason`."""
        for subscription in self.subscriptions.values():
            subscription.close(reason)

    def _forward(self, topic_name: str, letter: Proto) -> bool:
        topic = self.topics.get(topic_name)
        if topic is None:
            return False
        self.publish(topic, [letter])
        return True
