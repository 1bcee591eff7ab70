"""How many pushes may run at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from i3tasks_django.service import THREADS, environment_number


class Places:
    """A number of places, of which each takes one task at a time."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Whether there was one, which is then taken until the block ends. Waits for none."""
        is_taken = self._free.acquire(blocking=False)
        try:
            yield is_taken
        finally:
            if is_taken:
                self._free.release()


@functools.cache
def places() -> Places:
    """This process's.

    A receiver has as many threads, so there everybody finds a place. A web server that serves the project's
    own pages from the same threads keeps the others for those.

    Raises:
        CannotStart: ``I3TASKS_THREADS`` is no number.
    """
    return Places(environment_number("I3TASKS_THREADS", THREADS, least=1))
