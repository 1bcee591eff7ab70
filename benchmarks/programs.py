"""Child processes, none of which outlives the run, and what they cost. Costs are read from Linux's /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import i3tasks_examples.leash

ROOT = Path(__file__).parent.parent
T = TypeVar("T")

_LEASH = Path(i3tasks_examples.leash.__file__)
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Program:
    """A child in a session of its own, so that it ends with all its children. A leash ends it if we die.

    Args:
        command: the executable by its path, and its arguments.
        more: for Popen, like the user it runs as.
    """

    def __init__(self, *command: str, environment: Mapping[str, str], **more: object) -> None:
        self._name = " ".join(command)
        self._log = tempfile.NamedTemporaryFile(prefix="i3tasks-benchmark-")  # noqa: SIM115 - closed by end()
        self.process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603 - of ours
            [sys.executable, str(_LEASH), str(os.getpid()), *command],
            env=dict(environment),
            cwd=ROOT,
            text=True,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": self._log} | more,
        )

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the child and its children so far."""
        return sum(_cpu_ticks(pid) for pid in _family(self.process.pid)) / _TICKS_A_SECOND

    @property
    def peak_mib(self) -> float:
        """The highest resident size that each of its processes has had, added up."""
        return sum(_peak_kib(pid) for pid in _family(self.process.pid)) / 1024

    def check(self) -> None:
        """See that it is alive.

        Raises:
            RuntimeError: it is not; shows what it wrote last.
        """
        if (code := self.process.poll()) is not None:
            raise RuntimeError(f"{self._name} ended with {code}; it wrote:\n{self.output[-3000:]}")

    def wait_for(self, look: Callable[[], T], *, seconds: float = 60, pause: float = 0.02) -> T:
        """The first true value, while the program is alive.

        Raises:
            RuntimeError: it has ended, or it takes too long.
        """
        deadline = time.monotonic() + seconds
        while not (seen := look()):
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self._name} took more than {seconds:.0f} s; it wrote:\n{self.output[-3000:]}"
                )
            time.sleep(pause)
        return seen

    def stop(self) -> None:
        """The patient way."""
        self.process.terminate()
        self.process.wait(30)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._log.close()


@contextmanager
def running(*command: str, environment: Mapping[str, str], **more: object) -> Iterator[Program]:
    program = Program(*command, environment=environment, **more)
    try:
        yield program
    finally:
        program.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return [pid, *(each for child in children for each in _family(child))]


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _peak_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
