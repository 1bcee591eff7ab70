"""The services as child processes, none of which outlives the demo."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from i3tasks_examples.errors import DemoFailed
from i3tasks_examples.interrupts import Interrupts

T = TypeVar("T")

START_SECONDS = 30.0
GRACE_SECONDS = 3
"""What the services give their running tasks; the survey's take far less."""

STOP_SECONDS = 8.0

_LEASH = Path(__file__).with_name("leash.py")
_TICK = 0.05
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One child process, leader of a session of its own: Ctrl+C in a terminal reaches the demo alone."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def written(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")


class Services:
    """Starts services, waits for them, and stops them all.

    Args:
        logs: the folder for their output.
        interrupts: waiting ends when a signal comes.
    """

    def __init__(self, logs: Path, interrupts: Interrupts) -> None:
        self._logs = logs
        self._interrupts = interrupts
        self._services: list[Service] = []

    def start(self, name: str, *arguments: str, environment: Mapping[str, str]) -> Service:
        """Run ``python -m`` with these arguments.

        Raises:
            Interrupted: a signal came: nothing new is started.
        """
        self._interrupts.check()
        log = self._logs / f"{name}.log"
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid())]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own modules
                [*leash, sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=self._logs,
                start_new_session=True,
            )
        service = Service(name=name, process=process, log=log)
        self._services.append(service)
        return service

    def wait_for(self, what: str, look: Callable[[], T | None]) -> T:
        """Look until there is something to see, and give it back.

        Raises:
            DemoFailed: it takes too long, or a service has ended.
            Interrupted: a signal came.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._interrupts.pause(_TICK)
            if (seen := look()) is not None:
                return seen
            self.check()
        raise DemoFailed(f"{what} did not happen within {START_SECONDS:g} s")

    def check(self) -> None:
        """See that all services are alive.

        Raises:
            DemoFailed: one is not; says what it wrote last.
        """
        for service in self._services:
            code = service.process.poll()
            if code is not None:
                last_words = " | ".join(service.written().strip().splitlines()[-3:]) or "nothing"
                raise DemoFailed(f"{service.name} ended by itself with code {code}; it wrote: {last_words}")

    def stop(self) -> None:
        """Stop all at once, the patient way first; a second signal to the demo ends the patience."""
        for service in self._services:
            _signal(service, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(service.process.poll() is None for service in self._services):
            if time.monotonic() > deadline or self._interrupts.count > 1:
                break
            time.sleep(_TICK)
        for service in self._services:
            # The group, also when its leader is gone: whoever it had forked goes with it.
            with suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()
        self._services.clear()


def free_port() -> int:
    """A port nobody listens on.

    Not one that the system hands out by itself: between our look and the service's start somebody else's
    connection could get it.
    """
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise DemoFailed(f"no port is free between {_PORTS.start} and {_PORTS.stop}")


def answers(url: str) -> bool | None:
    """True when that address answers with success, else None."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - http to ourselves
            return True
    except (OSError, http.client.HTTPException):
        return None


def _signal(service: Service, number: signal.Signals) -> None:
    if service.process.poll() is None:
        with suppress(ProcessLookupError):
            service.process.send_signal(number)
