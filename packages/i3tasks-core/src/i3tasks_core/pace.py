"""How long tries take, and so how many a worker may claim ahead of its free threads."""

from __future__ import annotations

HORIZON = 0.2
"""Seconds within which a claimed try should start: what waits here for longer could run elsewhere."""

MOST_AHEAD = 1_000

_WEIGHT = 1 / 16


class Pace:
    """A moving average of the seconds that tries take; not safe for threads."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._seconds = 1.0
        self._seen_count = 0

    def saw(self, seconds: float) -> None:
        """A try took so long."""
        if not self._seen_count:
            self._seconds = seconds
        self._seen_count += 1
        self._seconds += (seconds - self._seconds) * _WEIGHT

    def stalled(self, seconds: float) -> None:
        """Nothing started for so long: whatever came before, tries take at least that now."""
        self._seconds = seconds
        self._seen_count = 0  # nothing is claimed ahead until a try has ended again

    @property
    def ahead(self) -> int:
        """So many start within the horizon, beside those that have a thread.

        Never more than have been seen: the first tries may tell little of the next ones.
        """
        # A microsecond at least: a clock may not see anything shorter.
        soon = int(self._concurrency * HORIZON / max(self._seconds, 1e-6))
        return min(MOST_AHEAD, soon, self._seen_count)
