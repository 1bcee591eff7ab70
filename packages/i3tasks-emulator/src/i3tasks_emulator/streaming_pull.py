"""StreamingPull: messages as they become ready, acks on the same stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from i3tasks_emulator.broker import Broker
from i3tasks_emulator.consumer import UNLIMITED, Consumer
from i3tasks_emulator.errors import StatusError, invalid
from i3tasks_emulator.pull import MAX_MESSAGES, fill, pull_source
from i3tasks_emulator.settings import MAX_ACK_DEADLINE, MIN_ACK_DEADLINE
from i3tasks_emulator.settle import acknowledge, modify_ack_deadline
from i3tasks_emulator.wire import Proto, StreamingPullResponse


class PullStream:
    """One open stream: a reader of what the client sends and a writer of what is ready."""

    def __init__(self, broker: Broker, first: Proto) -> None:
        """`first` is the stream's first StreamingPullRequest; StatusError when it is not acceptable."""
        self._subscription = pull_source(broker, first.subscription)
        if not first.stream_ack_deadline_seconds:
            raise invalid("first message must set stream_ack_deadline_seconds")
        self._consumer = Consumer(
            max_messages=_limit(first.max_outstanding_messages), max_bytes=_limit(first.max_outstanding_bytes)
        )
        self._half_closed = False
        self._refusal: StatusError | None = None
        self._apply(first)

    async def run(self, requests: AsyncIterator[Proto], write: Callable[[Proto], Awaitable[None]]) -> None:
        """Serve until the client closes its side; raises the StatusError that ends the stream otherwise."""
        reader = asyncio.create_task(self._read(requests))
        try:
            with self._subscription.attached(self._consumer):
                await self._write(write)
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Proto]) -> None:
        try:
            async for request in requests:
                if request.subscription:
                    raise invalid("subscription must only be set on the first message")
                self._apply(request)
        except StatusError as error:
            self._refusal = error
        finally:
            self._half_closed = True
            self._consumer.wake.set()

    async def _write(self, write: Callable[[Proto], Awaitable[None]]) -> None:
        while not self._is_over():
            self._consumer.wake.clear()
            limit = min(MAX_MESSAGES, self._subscription.fair_share())
            taken = self._subscription.take(self._consumer, limit, lease_seconds=self._lease_seconds)
            if not taken:
                await self._consumer.wake.wait()
                continue
            response = StreamingPullResponse()
            fill(response.received_messages, taken, self._subscription)
            await write(response)

    def _is_over(self) -> bool:
        self._subscription.raise_if_closed()
        if self._refusal is not None:
            raise self._refusal
        return self._half_closed

    def _apply(self, request: Proto) -> None:
        acknowledge(self._subscription, request.ack_ids)
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise invalid("modify_deadline_ack_ids and modify_deadline_seconds must be of the same length")
        modify_ack_deadline(
            self._subscription,
            zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True),
        )
        if seconds := request.stream_ack_deadline_seconds:
            if not MIN_ACK_DEADLINE <= seconds <= MAX_ACK_DEADLINE:
                raise invalid("stream_ack_deadline_seconds must be between 10 and 600 seconds")
            self._lease_seconds = float(seconds)


def _limit(requested: int) -> int:
    """Zero and below mean no limit."""
    return requested if requested > 0 else UNLIMITED
