"""Wait for rows that other processes change."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from i3tasks_core.errors import ResultTimeout
from i3tasks_django.store.database import connection

_POLL = (0.01, 0.5)


def wait_for(condition: Callable[[], bool], timeout: Any, what: str) -> None:
    """Ask until it is so.

    Args:
        condition: one query.
        timeout: a ``timedelta`` or seconds; None waits for as long as it takes, 0 asks once.
        what: who is waited for, for the error.

    Raises:
        ValueError: the timeout is no number of seconds.
        ResultTimeout: it is not so yet.
        RuntimeError: asked inside an open transaction, where nobody else sees what is waited for.
    """
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is not None and not (isinstance(seconds, int | float) and seconds == seconds):  # noqa: PLR0124 - NaN
        raise ValueError(f"timeout={timeout!r}: write a timedelta, seconds, or None to wait for ever")
    deadline = None if seconds is None else time.monotonic() + seconds
    pause = _POLL[0]
    while not condition():
        left = float("inf") if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise ResultTimeout(f"{what} has not ended within {seconds:g} s; it goes on")
        if connection().in_atomic_block:
            raise RuntimeError(
                f"{what}: waiting inside transaction.atomic() would wait for ever: nobody sees the call "
                "before the commit. Ask after the block"
            )
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _POLL[1])
