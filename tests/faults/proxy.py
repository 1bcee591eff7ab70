"""A TCP proxy before a database: what comes between the two of them comes between here."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Hands bytes on in both directions, until it is told otherwise.

    Attributes:
        port: where it listens.
        lost_count: answers to commits that it has kept to itself.
    """

    def __init__(self, target: int) -> None:
        self.lost_count = 0
        self._target = target
        self._pairs: set[_Pair] = set()
        self._is_cut = False
        self._dice: random.Random | None = None
        self._share = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and every new one at once."""
        self._is_cut = True
        self.close_all()

    def heal(self) -> None:
        self._is_cut = False

    def swallow(self) -> list[int]:
        """The server is gone from the connections that there are, and says nothing; new ones work.

        Returns:
            The clients' ports of those connections.
        """
        return [pair.swallow() for pair in list(self._pairs)]

    def close_all(self) -> None:
        for pair in list(self._pairs):
            pair.close()

    @contextmanager
    def losing_answers(self, dice: random.Random, share: float) -> Iterator[None]:
        """Inside the block this share of the transactions commits, and whoever asked hears nothing of it."""
        self._dice, self._share = dice, share
        try:
            yield
        finally:
            self._dice = None

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits there
        self._listener.close()
        self.close_all()

    def wants_to_lose(self, asked: bytes) -> bool:
        """Of a client's message: whether it commits something whose answer is to be lost."""
        is_commit = b"COMMIT\0" in asked or b"UPDATE i3tasks_" in asked or b"INSERT INTO i3tasks_" in asked
        return is_commit and self._dice is not None and self._dice.random() < self._share

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            self._pairs.add(_Pair(self, client, socket.create_connection(("127.0.0.1", self._target))))

    def forget(self, pair: _Pair) -> None:
        self._pairs.discard(pair)


class _Pair:
    """A connection and the one that it goes on by."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._is_mute = False
        self._proxy, self._client, self._server = proxy, client, server
        self._loses_next = False
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._proxy.forget(self)

    def swallow(self) -> int:
        self._is_mute = True
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        port: int = self._client.getpeername()[1]
        return port

    def _run(self) -> None:
        asking = threading.Thread(target=self._until_closed, args=(self._ask,), daemon=True)
        asking.start()
        self._until_closed(self._answer)
        asking.join()
        self._client.close()
        self._server.close()

    def _until_closed(self, pump: Callable[[], bool]) -> None:
        with suppress(OSError):
            while pump():
                pass
        if not self._is_mute:
            self.close()

    def _ask(self) -> bool:
        data = self._client.recv(65_536)
        if self._proxy.wants_to_lose(data):
            self._loses_next = True
        if not self._is_mute:
            self._server.sendall(data)
        return bool(data)

    def _answer(self) -> bool:
        data = self._server.recv(65_536)
        if self._loses_next and data:
            self._proxy.lost_count += 1
            return False
        if not self._is_mute:
            self._client.sendall(data)
        return bool(data)


def can_drop() -> bool:
    return os.geteuid() == 0 and shutil.which("iptables") is not None


@contextmanager
def dropping(port: int, clients: Iterable[int]) -> Iterator[None]:
    """No packet comes through between that port and those of its clients, in either direction."""
    ends = [pair for client in clients for pair in ((port, client), (client, port))]
    try:
        for ours, theirs in ends:
            _rule("-I", ours, theirs)
        yield
    finally:
        for ours, theirs in ends:
            _rule("-D", ours, theirs)


def _rule(change: str, ours: int, theirs: int) -> None:
    ports = ("--sport", str(ours), "--dport", str(theirs))
    subprocess.run(["iptables", "-w", change, "OUTPUT", "-p", "tcp", *ports, "-j", "DROP"], check=True)
