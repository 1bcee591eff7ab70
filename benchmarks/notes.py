"""What the tasks of every peer write down: when they were called, and when they began.

One file for all processes: an append this small is one system call, and the same for everyone.
"""

from __future__ import annotations

import os
import struct
import time
from functools import cache
from pathlib import Path

PATH = "BENCH_NOTES"
"""The environment variable that names the file."""

_NOTE = struct.Struct("dd")


def note(called_at: float) -> None:
    os.write(_file(), _NOTE.pack(called_at, time.time()))


class Notes:
    """The file, as the measuring side sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    @property
    def count(self) -> int:
        return self.path.stat().st_size // _NOTE.size

    def read(self) -> list[tuple[float, float]]:
        """Pairs of the moment of the call and that of the start, in seconds since 1970."""
        return [(called, started) for called, started in _NOTE.iter_unpack(self.path.read_bytes())]

    def read_starts(self) -> list[float]:
        """The moments of the starts, the first one first."""
        return sorted(started for _, started in self.read())

    def clear(self) -> None:
        os.truncate(self.path, 0)


@cache
def _file() -> int:
    return os.open(os.environ[PATH], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
