"""Real processes of the services, started and stopped as an operator would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

import databases
from ports import free_port


def wait_until(condition: Callable[[], Any], seconds: float, what: str = "") -> Any:
    """The condition's first true value.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)
    return value


class Process:
    """A child whose output is kept; its own session, so that nothing of it outlives the test."""

    def __init__(self, *command: str, environment: dict[str, str]) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="i3tasks-process-")  # noqa: SIM115 - closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text()

    def says(self, text: str, seconds: float = 30.0) -> str:
        """Wait for a text in the output and give back its line."""
        wait_until(lambda: text in self.output or self._process.poll() is not None, seconds, f"{text!r}")
        found = [line for line in self.output.splitlines() if text in line]
        assert found, f"{text!r} is not in:\n{self.output}"
        return found[0]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the process and its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def exit_code(self, seconds: float = 20.0) -> int:
        return self._process.wait(seconds)

    def end(self) -> None:
        try:
            self.kill()
        except ProcessLookupError:
            self._process.wait(10)
        self._log.close()


class Stack:
    """The services of one test, on its database and its Pub/Sub.

    Attributes:
        port: where a receiver listens; the push endpoint names it.
    """

    def __init__(self, database: databases.Database, *, lease: float | None = None) -> None:
        self.port = free_port()
        self._processes: list[Process] = []
        self.environment = databases.environment(
            database,
            TEST_PUBSUB=settings.PUBSUB_CONFIG["HOST"],
            TEST_PROJECT=settings.PUBSUB_CONFIG["PROJECT_ID"],
            TEST_PUSH_ENDPOINT=self.push_endpoint,
            I3TASKS_LOG_LEVEL="DEBUG",
            **({"TEST_LEASE_SECONDS": str(lease)} if lease else {}),
        )

    @property
    def push_endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/i3/tasks-push/"

    def start(self, *command: str, **environment: str) -> Process:
        process = Process(*command, environment=self.environment | environment)
        self._processes.append(process)
        return process

    def worker(self, queue: str = "heavy", **environment: str) -> Process:
        process = self.start("i3tasks_worker", f"--queue={queue}", **environment)
        process.says("service_started")
        return process

    def receiver(self, **environment: str) -> Process:
        process = self.start("i3tasks_receiver", PORT=str(self.port), **environment)
        wait_until(lambda: get(self.port, "/health/ready")[0] == 200, 30, f"receiver:\n{process.output}")
        return process

    def beat(self, port: int = 0, **environment: str) -> Process:
        process = self.start("i3tasks_beat", PORT=str(port), **environment)
        process.says("service_started")
        return process

    def end(self) -> None:
        for process in self._processes:
            process.end()


@contextmanager
def stack(database: databases.Database, *, lease: float | None = None) -> Iterator[Stack]:
    services = Stack(database, lease=lease)
    try:
        yield services
    finally:
        services.end()
        connections.close_all()


def get(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    """Status and body (read as JSON where it is) of a request; status 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    except OSError:
        return 0, None
    finally:
        connection.close()
    try:
        return response.status, json.loads(body)
    except ValueError:
        return response.status, body


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
