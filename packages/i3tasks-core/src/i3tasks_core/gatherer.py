"""One thread that handles what others hand in: everything that came while it was busy, together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from i3tasks_core import events

T = TypeVar("T")

MANY = 4
"""Items of a batch after which the longer rest pays. After two it would bring about the next two by itself:
what comes at an even pace would share, and wait, for ever."""


class Gatherer(Generic[T]):
    """Hands items on in batches that form by themselves: who comes after a pause waits for no company.

    Args:
        handle: takes a batch; called from this object's thread only. What it raises is logged.
        most: items of a batch, at most.
        rest: seconds between a batch and the next one, so that those who come one after the other share it.
        longer_rest: the same after a batch of at least ``MANY``, by default as long.
        name: of the thread.
    """

    def __init__(
        self,
        handle: Callable[[list[T]], object],
        *,
        most: int,
        rest: float,
        longer_rest: float | None = None,
        name: str,
    ) -> None:
        self._handle, self._most, self._rest = handle, most, rest
        self._longer_rest = rest if longer_rest is None else longer_rest
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T) -> None:
        self._items.put(item)

    def close(self, timeout: float) -> None:
        """Handle what is there, and no more; wait so many seconds for it."""
        self._items.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (first := self._items.get()) is not None:
            batch = [first]
            is_last = self._fill(batch)
            try:
                self._handle(batch)
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever this batch was
                events.UNCAUGHT(thread=self._thread.name, error=repr(error), exc_info=error)
            if is_last:
                return
            time.sleep(self._rest if len(batch) < MANY else self._longer_rest)

    def _fill(self, batch: list[T]) -> bool:
        """Add what is there; whether nothing comes after it."""
        while len(batch) < self._most:
            try:
                item = self._items.get_nowait()
            except Empty:
                return False
            if item is None:
                return True
            batch.append(item)
        return False
