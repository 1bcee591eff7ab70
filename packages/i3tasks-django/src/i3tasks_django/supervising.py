"""Several worker processes for tasks that compute: started, watched and replaced by one that does not."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from i3tasks_core import events
from i3tasks_django.beating import SideBeat, pubsub_is_away
from i3tasks_django.sidecar import serve_health
from i3tasks_django.signals import StopRequest
from i3tasks_django.worker_options import HEALTH_PORT, WorkerOptions

_SUPERVISOR = "I3TASKS_SUPERVISOR"
"""In the environment of a process that has one: its process id."""

_PAUSE = (1.0, 30.0)
_LONG_LIFE = 60.0
"""Seconds after which an end is no failure to start."""

_KILL_AFTER = 2.0
"""Seconds that a process is given beyond the grace of its tasks."""


def supervisor() -> int | None:
    """The process id of this process's supervisor, if it has one."""
    pid = os.environ.get(_SUPERVISOR)
    return int(pid) if pid else None


def supervise(options: WorkerOptions) -> int:
    """Keep as many processes at work as the options ask for, until SIGTERM or SIGINT.

    They are spawned by this process's own command line: nothing that does not survive a fork is shared.

    Returns:
        The exit code.

    Raises:
        CannotStart: the health port is taken.
    """
    stopping = StopRequest()
    beat = SideBeat()
    members = [Member(number) for number in range(options.process_count)]
    detail = f"queue={options.queue.queue_name} processes={options.process_count}"
    if options.health_port is not None:
        port = serve_health(
            options.health_port,
            HEALTH_PORT,
            is_live=lambda: None,
            ready=[lambda: _who_is_away(members), pubsub_is_away],
            metrics=beat.metrics,
        )
        detail += f" health_port={port}"
    beat.start()
    events.SERVICE_STARTED(service="supervisor", detail=detail)
    while True:
        for member in members:
            member.tend()
        if stopping.wait(0.5):
            break
    events.SERVICE_STOPPING(service="supervisor", detail=detail)
    beat.stop()
    deadline = time.monotonic() + options.grace + _KILL_AFTER
    for member in members:
        member.terminate()
    left_count = sum(not member.ends(deadline) for member in members)
    events.SERVICE_STOPPED(service="supervisor", running_count=left_count)
    return 0


class Member:
    """One of the processes, and the one that takes its place when it ends."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self._start_at = float("-inf")
        self._failure_count = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tend(self) -> None:
        """Start it when it is not there; after failures not at once."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self._mourn(self._process.pid, code)
        if self._process is None and time.monotonic() >= self._start_at:
            self._start()

    def terminate(self) -> None:
        if self._process is not None and self.is_running:
            self._process.terminate()

    def ends(self, deadline: float) -> bool:
        """Wait for its end; one that does not end in time is killed."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, _SUPERVISOR: str(os.getpid())},
            # Not of the terminal's group: its Ctrl+C is for the supervisor, who passes it on, once.
            process_group=0,
        )

    def _mourn(self, pid: int, code: int) -> None:
        self._process = None
        lived = time.monotonic() - self._started_at
        self._failure_count = self._failure_count + 1 if code and lived < _LONG_LIFE else int(code != 0)
        least, most = _PAUSE
        pause = min(most, least * 2.0 ** (self._failure_count - 1)) if self._failure_count else 0.0
        self._start_at = time.monotonic() + pause
        events.WORKER_EXITED(pid=pid, exit_code=code, seconds=round(lived, 1), pause=pause)


def _who_is_away(members: list[Member]) -> str | None:
    """A health check: whether all of them run."""
    away = sum(not member.is_running for member in members)
    return f"{away} of {len(members)} processes are not running" if away else None


def resident_mib() -> int:
    """What this process takes of the machine's memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux: the most it ever took must do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024**2
    return pages * resource.getpagesize() // 1024**2
