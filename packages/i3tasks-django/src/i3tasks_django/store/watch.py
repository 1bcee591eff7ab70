"""A statement of ours that gets no answer is broken off: its server may be gone, and never say so."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db.backends.base.base import BaseDatabaseWrapper

LIMIT = 25.0
"""Seconds that a transaction of the store may take; they take milliseconds, and wait a second for locks."""

_LOOK_EVERY_SECONDS = 1.0


class Watch:
    """Hangs up on database servers that keep a thread waiting.

    Nothing else would: a connection whose other end has gone stays open, and whoever reads from it reads on.
    """

    def __init__(self) -> None:
        self._watched: dict[int, tuple[float, int]] = {}
        self._pid = 0

    @contextmanager
    def over(self, current: BaseDatabaseWrapper) -> Iterator[None]:
        """Whoever waits inside the block for longer than ``LIMIT`` gets an error instead of an answer.

        Args:
            current: this thread's connection. SQLite's has nobody at its other end.

        Raises:
            OperationalError: it cannot be opened.
        """
        if (descriptor := _descriptor(current)) is None:
            yield
            return
        self._start()
        thread = threading.get_ident()
        around = self._watched.get(thread)
        self._watched[thread] = around or (time.monotonic() + LIMIT, descriptor)
        try:
            yield
        finally:
            if around is None:
                self._watched.pop(thread, (0.0, 0))

    def _start(self) -> None:
        if self._pid != os.getpid():  # threads do not survive a fork
            self._pid = os.getpid()
            self._watched.clear()
            threading.Thread(target=self._run, name="i3tasks-database-watch", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            now = time.monotonic()
            for thread, (until, descriptor) in list(self._watched.items()):
                if now > until:
                    self._watched.pop(thread, (0.0, 0))
                    _hang_up(descriptor)


def _descriptor(current: BaseDatabaseWrapper) -> int | None:
    """None where there is nobody to wait for; one that is closed tells so whoever uses it."""
    if current.vendor != "postgresql":
        return None
    current.ensure_connection()
    if current.connection.closed:
        return None
    descriptor: int = current.connection.fileno()
    return descriptor


def _hang_up(descriptor: int) -> None:
    """Both who reads and who writes there is told that the connection is at its end."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as end:
        end.shutdown(socket.SHUT_RDWR)


watch = Watch()
