"""How a service is told to stop."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class StopRequest:
    """Set by SIGTERM and SIGINT; a second signal ends the process at once. Made on the main thread.

    The handler only writes to a pipe. A ``threading.Event`` would take a lock that the interrupted main
    thread may be holding at that very moment, and the process would hang instead of stopping.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._pid = os.getpid()
        self._reader, self._writer = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait for a signal, at most so long; whether one has come."""
        select.select([self._reader], [], [], seconds)
        return self._is_set

    def _request(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A child that a task has forked: the signal is meant for it, and the pipe is ours.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if self._is_set:
            os._exit(1)
        self._is_set = True
        os.write(self._writer, b"!")
