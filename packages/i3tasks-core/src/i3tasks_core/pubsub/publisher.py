"""Ring doorbells: publish with a bounded wait, and leave Pub/Sub alone for a while when it is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from i3tasks_core.errors import PubSubError, PubSubUnavailable
from i3tasks_core.pubsub.clients import Clients, routed, translated

MAX_MESSAGES = 1000
"""Pub/Sub's limit of one publish request: https://cloud.google.com/pubsub/quotas"""

Message = tuple[bytes, dict[str, str]]


class Breaker:
    """Open for a while after a failure, so that nobody waits for what is known to be away."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._open_until = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return time.monotonic() < self._open_until

    def trip(self) -> None:
        with self._lock:
            self._open_until = time.monotonic() + self._seconds

    def reset(self) -> None:
        self._open_until = 0.0


class Publisher:
    """Publishes to one configuration's topics.

    Args:
        clients: where the client comes from.
        patience: seconds a call may wait for Pub/Sub in all.
    """

    def __init__(self, clients: Clients, patience: float = 2.0) -> None:
        self._clients = clients
        self._patience = patience
        self.breaker = Breaker()

    def open(self) -> None:
        """Make the client now: the first one of a process takes a second, which nobody should wait reserving.

        Raises:
            PubSubError: it cannot be made, for want of credentials say; publishing is not tried for a while.
        """
        try:
            with translated("open a channel"):
                self._clients.publisher()
        except PubSubError:
            self.breaker.trip()
            raise

    def publish(self, topic_path: str, messages: Sequence[Message]) -> None:
        """Hand the messages to Pub/Sub, all of them or an error.

        Args:
            topic_path: ``projects/…/topics/…``.
            messages: data and attributes of each, at most 1,000.

        Raises:
            PubSubMissing: the topic does not exist.
            PubSubUnavailable: Pub/Sub did not answer within the publisher's patience, or failed less
                than ten seconds ago.
            PubSubError: Pub/Sub refused.
        """
        if self.breaker.is_open:
            raise PubSubUnavailable(f"publish to {topic_path}: not tried, Pub/Sub failed moments ago")
        try:
            with translated(f"publish to {topic_path}"):
                self._send(topic_path, messages)
        except PubSubUnavailable:
            self.breaker.trip()
            raise
        self.breaker.reset()

    def _send(self, topic_path: str, messages: Sequence[Message]) -> None:
        from google.pubsub_v1 import types

        if len(messages) > MAX_MESSAGES:
            raise PubSubError(f"{len(messages)} messages in one request; at most {MAX_MESSAGES}")
        request = types.PublishRequest.pb()(topic=topic_path)
        for data, attributes in messages:
            request.messages.add(data=data, attributes=attributes)
        self._clients.rpc("Publish")(request, timeout=self._patience, metadata=routed("topic", topic_path))
