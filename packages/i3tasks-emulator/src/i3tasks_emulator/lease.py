"""Leases: who holds which message until when."""

import itertools
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from i3tasks_emulator.consumer import Consumer
from i3tasks_emulator.message import Delivery

# Leases of one length end in the order they were granted, so the first of each queue is the next to end and
# neither granting nor releasing searches or sorts. An OrderedDict and not a dict: finding the first item of a
# dict walks over everything that was deleted before it.
_Queue: TypeAlias = "OrderedDict[str, Lease]"


_ACK_ID = re.compile(r"[0-9a-f]+-[0-9]+:[0-9]+")


def is_ack_id(text: str) -> bool:
    """Whether a server like this one could have granted it: an old id is fine, garbage is an error."""
    return _ACK_ID.fullmatch(text) is not None


@dataclass(slots=True)
class Lease:
    delivery: Delivery
    consumer: Consumer
    ends_at: float
    """On the clock of the event loop."""
    queue: _Queue


class LeaseTable:
    """All leases of one subscription, by ack id and by the moment they end."""

    def __init__(self, prefix: str) -> None:
        """`prefix` (`BOOT-NUMBER`) makes the ack ids of this table differ from those of any other."""
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._leases: dict[str, Lease] = {}
        self._queues: dict[float, _Queue] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def grant(self, delivery: Delivery, consumer: Consumer, *, length: float, now: float) -> str:
        """Lease a message for `length` seconds and return the ack id."""
        ack_id = f"{self._prefix}:{next(self._numbers)}"
        queue = self._queue(length)
        self._leases[ack_id] = queue[ack_id] = Lease(delivery, consumer, now + length, queue)
        return ack_id

    def release(self, ack_id: str) -> Lease | None:
        """Take a lease away; None when it has ended already."""
        lease = self._leases.pop(ack_id, None)
        if lease is not None:
            del lease.queue[ack_id]
            lease.consumer.credit(lease.delivery)
        return lease

    def extend(self, ack_id: str, *, length: float, now: float) -> bool:
        """Let a lease end `length` seconds from now, sooner or later than before; False when it has ended."""
        lease = self._leases.get(ack_id)
        if lease is None:
            return False
        del lease.queue[ack_id]
        lease.queue = self._queue(length)
        lease.ends_at = now + length
        lease.queue[ack_id] = lease
        return True

    def ended(self, now: float) -> Iterator[str]:
        """The ack ids whose time is over. The caller releases each before asking for the next."""
        for queue in self._queues.values():
            while queue and self._first(queue).ends_at <= now:
                yield next(iter(queue))

    def next_end(self) -> float | None:
        """The moment the next lease ends."""
        return min((self._first(queue).ends_at for queue in self._queues.values() if queue), default=None)

    def _queue(self, length: float) -> _Queue:
        queue = self._queues.get(length)
        if queue is None:
            queue = self._queues[length] = OrderedDict()
        return queue

    @staticmethod
    def _first(queue: _Queue) -> Lease:
        return next(iter(queue.values()))
