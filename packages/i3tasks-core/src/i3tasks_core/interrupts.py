"""What a service does with a signal before it can stop in an orderly way."""

from __future__ import annotations

import os
import signal
from types import FrameType


def exit_on_signals() -> None:
    """End the process at once at SIGTERM and SIGINT, with 128 + the signal's number as its exit code.

    For the moment in which everything is imported: nothing has begun, so nothing has to be ended well.
    Python's own answer to Ctrl+C would be a traceback, and the first process of a container would not
    hear SIGTERM at all. Whoever serves later sets a disposition of its own. Main thread only.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
