"""Push subscriptions that are held back until a backlog is there, and then let go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

_PROJECT = "projects/bench"
_BATCH = 1_000


class PubSub:
    """The emulator, as the measuring side uses it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

    def fill(self, name: str, count: int) -> None:
        """A topic of that name, and a subscription that holds so many messages, about as long as ours."""
        topic = f"{_PROJECT}/topics/{name}"
        self._publisher.create_topic(name=topic)
        self._subscriber.create_subscription(name=_path(name), topic=topic)
        for start in range(0, count, _BATCH):
            messages = [{"data": b"x" * 200}] * min(_BATCH, count - start)
            self._publisher.publish(topic=topic, messages=messages)

    def hold(self, name: str) -> None:
        """Without an endpoint a subscription waits for pulls."""
        self.release(name, "")

    def release(self, name: str, endpoint: str) -> None:
        self._subscriber.modify_push_config(subscription=_path(name), push_config={"push_endpoint": endpoint})


@contextmanager
def connected(target: str) -> Iterator[PubSub]:
    with grpc.insecure_channel(target) as channel:
        yield PubSub(channel)


def _path(name: str) -> str:
    return f"{_PROJECT}/subscriptions/{name}"
