"""A subscription: the life of its messages from ready over leased to settled or ready again."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from i3tasks_emulator.alarm import Alarm
from i3tasks_emulator.backoff import AT_ONCE, Backoff
from i3tasks_emulator.consumer import Consumer
from i3tasks_emulator.dead_letter import dead_letter
from i3tasks_emulator.errors import StatusError
from i3tasks_emulator.filters import compile_filter
from i3tasks_emulator.lease import LeaseTable
from i3tasks_emulator.message import Delivery
from i3tasks_emulator.wire import Proto

# A response stops growing here; the message that crosses the line is still in it.
MAX_RESPONSE_BYTES = 10_000_000

# The loop rings a timer up to its clock's resolution early; without this the alarm would ring twice.
_CLOCK_SLACK_SECONDS = 0.0005

Taken: TypeAlias = list[tuple[str, Delivery]]
"""Leased messages with their ack ids, oldest first."""

Forward: TypeAlias = Callable[[str, Proto], bool]
"""Publishes a dead letter to the topic of that name; False when there is no such topic."""


class Subscription:
    """Every method belongs to the event loop's thread; none of them awaits, so none needs a lock.

    Attributes:
        settings: the checked google.pubsub.v1.Subscription; replaced by `configure`, never changed.
        closed_by: what every waiting consumer is told once the subscription is gone.
    """

    def __init__(self, settings: Proto, ack_prefix: str, forward: Forward) -> None:
        self.name: str = settings.name
        self.closed_by: StatusError | None = None
        self._forward = forward
        self._matches = compile_filter(settings.filter)
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._on_alarm)
        self._ready: deque[Delivery] = deque()
        self._leases = LeaseTable(ack_prefix)
        self._resting: list[tuple[float, int, Delivery]] = []
        self._rest_numbers = itertools.count()
        self._consumers: deque[Consumer] = deque()
        self.configure(settings)

    def configure(self, settings: Proto) -> None:
        """Take over checked settings; leases that are out keep the length they were granted with."""
        self.settings = settings
        self.is_push = bool(settings.push_config.push_endpoint)
        self.lease_seconds = float(settings.ack_deadline_seconds)
        self._policy = Backoff.of_policy(settings.retry_policy) if settings.HasField("retry_policy") else None
        self.has_dead_letters: bool = settings.HasField("dead_letter_policy")

    def close(self, reason: StatusError) -> None:
        """Nothing is delivered any more, and every waiting consumer is told `reason`."""
        self.closed_by = reason
        self._alarm.cancel()
        self._ready.clear()
        for consumer in self._consumers:
            consumer.wake.set()

    def raise_if_closed(self) -> None:
        if self.closed_by is not None:
            raise StatusError(self.closed_by.code, self.closed_by.message)

    # in

    def enqueue(self, messages: Sequence[Proto], sizes: Sequence[int]) -> None:
        """Make the published messages ready that pass the filter; their sizes are in bytes."""
        matches = self._matches
        self._ready.extend(
            Delivery(message, size)
            for message, size in zip(messages, sizes, strict=True)
            if matches is None or matches(message.attributes)
        )
        self.wake_one()

    def wake_one(self) -> None:
        """Wake one consumer with room; whoever takes wakes the next one if anything is left."""
        if not self._ready:
            return
        consumers = self._consumers
        for _ in range(len(consumers)):
            consumer = consumers[0]
            consumers.rotate(-1)
            if consumer.room > 0:
                consumer.wake.set()
                return

    # out

    @contextmanager
    def attached(self, consumer: Consumer) -> Iterator[None]:
        """While inside, the consumer is among those that are woken."""
        self._consumers.append(consumer)
        try:
            yield
        finally:
            self._consumers.remove(consumer)
            # It may leave with a wake-up it did not use.
            self.wake_one()

    def fair_share(self) -> int:
        """How many of the ready messages one of the attached consumers should take at once, at least 1."""
        return -(-len(self._ready) // max(1, len(self._consumers))) or 1

    def take(self, consumer: Consumer, limit: int, *, lease_seconds: float) -> Taken:
        """Lease up to `limit` ready messages to the consumer, as far as it has room."""
        ready, leases = self._ready, self._leases
        now = self._loop.time()
        room = min(limit, consumer.room, len(ready))
        byte_room = min(MAX_RESPONSE_BYTES, consumer.max_bytes - consumer.held_bytes)
        taken: Taken = []
        size = 0
        while len(taken) < room and size < byte_room:
            delivery = ready.popleft()
            delivery.attempts += 1
            size += delivery.size
            taken.append((leases.grant(delivery, consumer, length=lease_seconds, now=now), delivery))
        if taken:
            consumer.charge(len(taken), size)
            self._alarm.ring_at(now + lease_seconds)
        self.wake_one()
        return taken

    # settle

    def ack(self, ack_id: str) -> bool:
        """Forget a message for good; False when its lease has ended."""
        return self._leases.release(ack_id) is not None

    def nack(self, ack_id: str, default: Backoff = AT_ONCE) -> bool:
        """Refused, expired or failed: a dead letter, or ready again after a rest; False if not leased.

        `default` counts where the subscription has no retry policy of its own.
        """
        lease = self._leases.release(ack_id)
        if lease is None:
            return False
        delivery = lease.delivery
        if not self._is_dead(delivery):
            self._rest(delivery, (self._policy or default).delay(delivery.attempts))
        return True

    def extend(self, ack_id: str, seconds: int) -> bool:
        """Let the lease end `seconds` from now, 0 meaning nack; False when it has ended."""
        if seconds == 0:
            return self.nack(ack_id)
        now = self._loop.time()
        extended = self._leases.extend(ack_id, length=float(seconds), now=now)
        if extended:
            self._alarm.ring_at(now + seconds)
        return extended

    def _is_dead(self, delivery: Delivery) -> bool:
        """Forward a message that used up its attempts; without a topic to take it, it is tried on."""
        if not self.has_dead_letters:
            return False
        policy = self.settings.dead_letter_policy
        if delivery.attempts < policy.max_delivery_attempts:
            return False
        return self._forward(policy.dead_letter_topic, dead_letter(delivery, self.name))

    def _rest(self, delivery: Delivery, seconds: float) -> None:
        if seconds <= 0:
            self._ready.append(delivery)
            self.wake_one()
            return
        until = self._loop.time() + seconds
        heapq.heappush(self._resting, (until, next(self._rest_numbers), delivery))
        self._alarm.ring_at(until)

    # time

    def _on_alarm(self) -> None:
        now = self._loop.time() + _CLOCK_SLACK_SECONDS
        for ack_id in self._leases.ended(now):
            self.nack(ack_id)
        while self._resting and self._resting[0][0] <= now:
            self._ready.append(heapq.heappop(self._resting)[2])
        self.wake_one()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if (lease_end := self._leases.next_end()) is not None:
            self._alarm.ring_at(lease_end)
        if self._resting:
            self._alarm.ring_at(self._resting[0][0])
