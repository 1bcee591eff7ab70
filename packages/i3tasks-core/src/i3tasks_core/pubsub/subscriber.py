"""Ask a subscription for messages by unary pulls, and acknowledge many at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from i3tasks_core.pubsub.clients import Clients, routed, translated

MAX_PULL = 1000
MAX_ACKNOWLEDGE = 1000
"""Pub/Sub takes 512 KiB a request; an acknowledgement id is up to 200 bytes or so."""

_ACK_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a subscription gave it."""

    ack_id: str
    message_id: str
    data: bytes
    attributes: dict[str, str]


class Subscriber:
    """One pull subscription.

    Args:
        clients: where the client comes from.
        subscription_path: ``projects/…/subscriptions/…``.
    """

    def __init__(self, clients: Clients, subscription_path: str) -> None:
        self._clients = clients
        self._path = subscription_path
        self._lock = threading.Lock()
        self._call: Any = None
        self._closed = False

    def pull(self, max_messages: int, timeout: float) -> list[Received]:
        """Wait up to ``timeout`` seconds for one to ``max_messages`` messages; an empty list means "again".

        Raises:
            PubSubMissing: the subscription does not exist.
            PubSubUnavailable: Pub/Sub cannot be reached.
            PubSubError: Pub/Sub refused.
        """
        import grpc

        with translated(f"pull from {self._path}"):
            with self._lock:
                if self._closed:
                    return []
                call = self._call = self._start_pull(min(max_messages, MAX_PULL), timeout)
            try:
                response = call.result()
            except grpc.FutureCancelledError:
                return []
            except grpc.RpcError as error:
                # CANCELLED is our own close(); DEADLINE_EXCEEDED is a queue with nothing in it.
                if error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
                    return []
                raise
        return [
            Received(item.ack_id, item.message.message_id, item.message.data, dict(item.message.attributes))
            for item in response.received_messages
        ]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Tell Pub/Sub that these are dealt with.

        Raises:
            PubSubError: it did not hear us; it will deliver them again, which does no harm.
        """
        from google.pubsub_v1 import types

        for start in range(0, len(ack_ids), MAX_ACKNOWLEDGE):
            with translated(f"acknowledge to {self._path}"):
                request = types.AcknowledgeRequest.pb()(
                    subscription=self._path, ack_ids=ack_ids[start : start + MAX_ACKNOWLEDGE]
                )
                self._clients.rpc("Acknowledge")(
                    request, timeout=_ACK_PATIENCE, metadata=routed("subscription", self._path)
                )

    def close(self) -> None:
        """End a pull that is waiting and refuse new ones; called from another thread than the puller's."""
        with self._lock:
            self._closed = True
            call = self._call
        if call is not None:
            call.cancel()

    def _start_pull(self, max_messages: int, timeout: float) -> Any:
        """A call that can be cancelled."""
        from google.pubsub_v1 import types

        request = types.PullRequest.pb()(subscription=self._path, max_messages=max_messages)
        return self._clients.rpc("Pull").future(
            request, timeout=timeout, metadata=routed("subscription", self._path)
        )
