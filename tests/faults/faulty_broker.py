"""A Pub/Sub that keeps no promise but one: a message is what was published."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from i3tasks_core.errors import PubSubUnavailable
from i3tasks_core.pubsub.publisher import Message
from i3tasks_core.pubsub.subscriber import Received

REDELIVERED_AFTER = 0.5
"""Seconds after which what nobody acknowledged comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a broker treats its messages.

    Attributes:
        copies: deliveries of each at once.
        late: seconds by which one is late, at most.
        is_reversed: the last comes first.
        dropped: the part that nobody ever sees.
        lost_answers: the part of pulls whose messages are gone on their way.
        hears: the acknowledgements; deaf, it delivers everything again, a few times.
        forgets: what it has delivered once, whatever became of it.
    """

    copies: int = 1
    late: float = 0.0
    is_reversed: bool = False
    dropped: float = 0.0
    lost_answers: float = 0.0
    hears: bool = True
    forgets: bool = False


FAULTS = {
    "each three times at once": Manners(copies=3),
    "reversed and late": Manners(late=2.0, is_reversed=True),
    "three in ten dropped": Manners(dropped=0.3),
    "no acknowledgement heard": Manners(hears=False),
    "acknowledged at receipt, answers lost": Manners(forgets=True, lost_answers=0.2),
    "all of it": Manners(copies=2, late=1.0, is_reversed=True, dropped=0.2, lost_answers=0.1, hears=False),
}
_MOST_DELIVERIES = 5


class FaultyBroker:
    """One topic and its subscription, in this process.

    Attributes:
        delivered_count: messages handed over so far, copies included.
    """

    def __init__(self, manners: Manners, dice: random.Random) -> None:
        self.delivered_count = 0
        self._manners, self._dice = manners, dice
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Received, int]] = []
        self._acknowledged: set[str] = set()
        self._changed = threading.Condition()
        self._is_closed = False

    def publish(self, _topic_path: str, messages: Sequence[Message]) -> None:
        with self._changed:
            for data, attributes in messages:
                if self._dice.random() < self._manners.dropped:
                    continue
                for _ in range(self._manners.copies):
                    number = str(next(self._order))
                    late = self._dice.random() * self._manners.late
                    self._put(Received(number, number, data, attributes), 1, late)

    def pull(self, max_messages: int, timeout: float) -> list[Received]:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._is_closed and not (taken := list(self._take(max_messages))):
                if (left := deadline - time.monotonic()) <= 0:
                    return []
                self._changed.wait(min(left, 0.05))
            if self._is_closed:
                return []
            self.delivered_count += len(taken)
            if self._dice.random() < self._manners.lost_answers:
                raise PubSubUnavailable("the answer was lost")
            return taken

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        with self._changed:
            if self._manners.hears:
                self._acknowledged.update(ack_ids)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _put(self, message: Received, number: int, late: float) -> None:
        place = next(self._order)
        rank = -place if self._manners.is_reversed else place
        heapq.heappush(self._waiting, (time.monotonic() + late, rank, message, number))
        self._changed.notify()

    def _take(self, count: int) -> Iterator[Received]:
        now, due = time.monotonic(), []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heapq.heappop(self._waiting))
        # Among those whose time has come the order is the broker's, not that of their times.
        due = sorted((entry for entry in due if not self._is_done(entry[2])), key=lambda entry: entry[1])
        for entry in due[count:]:
            heapq.heappush(self._waiting, entry)
        for _, _, message, number in due[:count]:
            if not self._manners.forgets and number < _MOST_DELIVERIES:
                self._put(message, number + 1, REDELIVERED_AFTER)
            yield message

    def _is_done(self, message: Received) -> bool:
        return message.ack_id in self._acknowledged
