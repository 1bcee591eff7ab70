"""A Pub/Sub of a test's own, as a process on a port that stays: it can be killed, held and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import google_emulator
from ports import free_port
from processes import wait_until


class Broker:
    """The embedded Pub/Sub or Google's emulator; both forget everything when they end."""

    def __init__(self, kind: str) -> None:
        self._port = free_port()
        self._command = {"embedded": self._embedded, "google": self._google}[kind]()
        self.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return when it listens."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(self._listens, 60, "Pub/Sub listens")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def hold(self) -> None:
        """A black hole: connections are taken, and nothing is ever answered."""
        self._process.send_signal(signal.SIGSTOP)

    def _embedded(self) -> list[str]:
        return [sys.executable, "-m", "i3tasks_emulator", "--port", str(self._port)]

    def _google(self) -> list[str]:
        jar = google_emulator.find_jar()
        if jar is None:
            pytest.skip("Google's Pub/Sub emulator is not installed")
        options = ["-Xmx128m", "-XX:TieredStopAtLevel=1"]
        return ["java", *options, "-jar", str(jar), "--host=127.0.0.1", f"--port={self._port}"]

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def broker(kind: str) -> Iterator[Broker]:
    made = Broker(kind)
    try:
        yield made
    finally:
        made.kill()
