"""A client of one Pub/Sub under test: short words for what the tests do."""

import queue
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import grpc
import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import ReceivedMessage, StreamingPullRequest

T = TypeVar("T")

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 4 << 20),
    ("grpc.keepalive_time_ms", 30_000),
]


@dataclass(frozen=True, slots=True)
class Target:
    """A Pub/Sub under test."""

    kind: Literal["embedded", "google"]
    address: str
    certs_url: str | None = None

    def differs(self, service: T, *, google: T, because: str) -> T:
        """What to expect: what the real service does, or what Google's emulator does instead, and why."""
        assert because
        return google if self.kind == "google" else service

    def embedded_only(self, because: str) -> None:
        """Skip the rest of the test on Google's emulator, which by its nature cannot pass."""
        if self.kind == "google":
            pytest.skip(f"Google's emulator differs: {because}")


def eventually(check: Callable[[], T], within: float = 10.0) -> T:
    """The first true value of `check`; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)


def duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


class PubSub:
    """Both clients on one channel, and a project that nobody else uses. Names are short; paths are full."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.project = f"projects/p{uuid.uuid4().hex[:10]}"
        self.channel = grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self.channel))

    def close(self) -> None:
        """Delete the subscriptions, so that nothing is pushed any more, and hang up."""
        for subscription in self.subscriber.list_subscriptions(project=self.project, timeout=10):
            self.subscriber.delete_subscription(subscription=subscription.name, retry=None, timeout=10)
        self.channel.close()

    def topic_path(self, name: str) -> str:
        return f"{self.project}/topics/{name}"

    def subscription_path(self, name: str) -> str:
        return f"{self.project}/subscriptions/{name}"

    def topic(self, name: str = "the-topic") -> str:
        return str(self.publisher.create_topic(name=self.topic_path(name), retry=None, timeout=10).name)

    def subscription(
        self, name: str = "the-subscription", *, topic: str = "the-topic", **settings: Any
    ) -> str:
        request = {"name": self.subscription_path(name), "topic": self.topic_path(topic), **settings}
        return str(self.subscriber.create_subscription(request=request, retry=None, timeout=10).name)

    def publish(self, *data: bytes, topic: str = "the-topic", **attributes: str) -> list[str]:
        messages = [{"data": each, "attributes": attributes} for each in data]
        path = self.topic_path(topic)
        answer = self.publisher.publish(topic=path, messages=messages, retry=None, timeout=10)
        return list(answer.message_ids)

    def pull(
        self, subscription: str = "the-subscription", *, at_most: int = 100, within: float = 5.0
    ) -> list[ReceivedMessage]:
        """One pull: what is ready, or the first that becomes ready; empty when nothing does."""
        path = self.subscription_path(subscription)
        try:
            answer = self.subscriber.pull(subscription=path, max_messages=at_most, retry=None, timeout=within)
        except DeadlineExceeded:
            return []
        return list(answer.received_messages)

    def pull_now(self, subscription: str = "the-subscription", at_most: int = 100) -> list[ReceivedMessage]:
        request = {
            "subscription": self.subscription_path(subscription),
            "max_messages": at_most,
            "return_immediately": True,
        }
        with warnings.catch_warnings():
            # Deprecated for consumers, and still the only way to see that nothing is ready without waiting.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(self.subscriber.pull(request=request, retry=None, timeout=10).received_messages)

    def pull_one(self, subscription: str = "the-subscription", *, within: float = 8.0) -> ReceivedMessage:
        (received,) = self.pull(subscription, at_most=1, within=within)
        return received

    def ack(self, *received: ReceivedMessage, subscription: str = "the-subscription") -> None:
        self.subscriber.acknowledge(
            subscription=self.subscription_path(subscription),
            ack_ids=[each.ack_id for each in received],
            retry=None,
            timeout=10,
        )

    def modify(
        self, *received: ReceivedMessage, seconds: int, subscription: str = "the-subscription"
    ) -> None:
        """Let the leases end `seconds` from now."""
        self.subscriber.modify_ack_deadline(
            subscription=self.subscription_path(subscription),
            ack_ids=[each.ack_id for each in received],
            ack_deadline_seconds=seconds,
            retry=None,
            timeout=10,
        )

    def nack(self, *received: ReceivedMessage, subscription: str = "the-subscription") -> None:
        self.modify(*received, seconds=0, subscription=subscription)

    def stream(self, subscription: str = "the-subscription", **first: Any) -> "Stream":
        first = {"stream_ack_deadline_seconds": 10, **first}
        return Stream(self.subscriber, subscription=self.subscription_path(subscription), **first)


class Stream:
    """An open StreamingPull: what arrives is read on a thread of its own."""

    def __init__(self, subscriber: SubscriberClient, **first: Any) -> None:
        self._requests: queue.SimpleQueue[StreamingPullRequest | None] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[list[ReceivedMessage]] = queue.SimpleQueue()
        self.ended = threading.Event()
        self.error: Exception | None = None
        self.send(**first)
        self._call = subscriber.streaming_pull(requests=self._outgoing(), retry=None, timeout=30)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, **request: Any) -> None:
        self._requests.put(StreamingPullRequest(**request))

    def half_close(self) -> None:
        self._requests.put(None)

    def receive(self, within: float = 5.0) -> list[ReceivedMessage]:
        """The next response's messages; empty when none arrives in time."""
        try:
            return self._arrived.get(timeout=within)
        except queue.Empty:
            return []

    def receive_count(self, count: int) -> list[ReceivedMessage]:
        """Responses until there are `count` messages or more."""
        received: list[ReceivedMessage] = []
        while len(received) < count:
            batch = self.receive()
            assert batch, f"{len(received)} of {count} messages"
            received += batch
        return received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.half_close()
        self._call.cancel()
        self._reader.join(10)

    def _outgoing(self) -> Iterator[StreamingPullRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        try:
            for response in self._call:
                self._arrived.put(list(response.received_messages))
        except Exception as error:
            self.error = error
        self.ended.set()
