"""Ctrl+C and its relatives, honoured between steps and never inside one."""

from __future__ import annotations

import signal
import time
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK = 0.05


class Interrupted(Exception):
    """Somebody wants the demo to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


class Interrupts:
    """Notes that a signal came; ``check()`` and ``pause()`` raise.

    A handler that raised by itself could do so in the middle of starting a process, which then nobody would
    know of. Every step between two checks takes a second or two at most.

    Attributes:
        count: how many signals came. More than one: somebody is in a hurry.
    """

    def __init__(self) -> None:
        self.count = 0
        self._number: int | None = None
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self._number is not None:
            raise Interrupted(self._number)

    def pause(self, seconds: float) -> None:
        """Sleep so long at most.

        Raises:
            Interrupted: a signal came.
        """
        # Not an Event: setting one in a handler that interrupted its own wait() can lock up for good.
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _TICK))
        self.check()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self._number = self._number or number
