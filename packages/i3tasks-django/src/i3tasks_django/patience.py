"""Whoever sends a request in drips is hung up on, who would keep a thread for as long as he likes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LOOK_EVERY_SECONDS = 0.5


class Patience:
    """Connections on which a request is coming in, each until its moment.

    A timeout of the socket would not do: it begins anew with every byte.

    Args:
        seconds: how long a request may take to come in, head and body.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._awaited: dict[int, tuple[float, socket.socket]] = {}

    def start(self) -> None:
        """Begin to look, in the process whose connections these are."""
        threading.Thread(target=self._run, name="i3tasks-patience", daemon=True).start()

    @contextmanager
    def awaiting(self, peer: socket.socket) -> Iterator[None]:
        """The peer's time runs inside the block, until all ``came``."""
        self._awaited[id(peer)] = (time.monotonic() + self._seconds, peer)
        try:
            yield
        finally:
            self.came(peer)

    def came(self, peer: socket.socket) -> None:
        """The whole request is here: what becomes of it may take as long as it takes."""
        self._awaited.pop(id(peer), None)

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            self._hang_up()

    def _hang_up(self) -> None:
        now = time.monotonic()
        for until, peer in list(self._awaited.values()):
            if now > until:
                with suppress(OSError):
                    # Whoever waits for its next byte reads the end instead, and can still answer.
                    peer.shutdown(socket.SHUT_RD)
