"""Somebody who takes messages: a waiting pull, an open stream, or the push loop of a subscription."""

import asyncio

from i3tasks_emulator.message import Delivery

UNLIMITED = 1 << 62


class Consumer:
    """What it may hold, what it holds, and the event that wakes it.

    Attributes:
        wake: set when there may be something to take. Clear it BEFORE looking, or a wake-up is lost.
        max_messages: how many leased messages it may hold at once.
        max_bytes: how many bytes of them; the message that crosses the line is still handed out.
    """

    __slots__ = ("held_bytes", "held_count", "max_bytes", "max_messages", "wake")

    def __init__(self, *, max_messages: int = UNLIMITED, max_bytes: int = UNLIMITED) -> None:
        self.wake = asyncio.Event()
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.held_count = 0
        self.held_bytes = 0

    @property
    def room(self) -> int:
        """How many more messages it may hold; can be negative after `max_messages` shrank."""
        if self.held_bytes >= self.max_bytes:
            return 0
        return self.max_messages - self.held_count

    def charge(self, count: int, size: int) -> None:
        self.held_count += count
        self.held_bytes += size

    def credit(self, delivery: Delivery) -> None:
        """A message it held is settled: if it was full, it may now take another."""
        was_full = self.room <= 0
        self.held_count -= 1
        self.held_bytes -= delivery.size
        if was_full:
            self.wake.set()
