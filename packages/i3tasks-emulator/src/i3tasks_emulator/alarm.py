"""One timer that rings at the earliest of many moments."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings once, at the earliest moment it was asked for; the callback asks again for the next.

    A timer for each lease would cost more than the message itself: most are cancelled by an ack long before.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._timer: asyncio.TimerHandle | None = None

    def ring_at(self, when: float) -> None:
        """Ring at `when` on the loop's clock, or before that if an earlier moment is already set."""
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ring)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._callback()
