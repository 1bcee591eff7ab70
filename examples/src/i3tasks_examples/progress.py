"""How far it is: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from typing import TextIO

_WIDTH = 24
"""With the text beside it, a line stays within 80 columns: a longer one would not be written over."""
_LINES = 4
"""Where there is no terminal: a line for each quarter."""


class Progress:
    """Shows how many of so many are done.

    Args:
        total: how many tasks there will be.
        package_count: how many groups of them.
        out: where to.
    """

    def __init__(self, total: int, package_count: int, out: TextIO) -> None:
        self._total = total
        self._package_count = package_count
        self._out = out
        self._began = time.monotonic()
        self._lines_written = 0

    def show(self, done: int, packages_done: int) -> None:
        text = self._text(done, packages_done)
        if self._out.isatty():
            self._out.write(f"\r  [{self._bar(done)}] {text} ")
            self._out.flush()
        elif done * _LINES // self._total > self._lines_written:
            self._lines_written = done * _LINES // self._total
            self._out.write(f"  {text}\n")
            self._out.flush()

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self._out.isatty():
            self._out.write("\n")
            self._out.flush()

    def _bar(self, done: int) -> str:
        filled = _WIDTH * done // self._total
        return "█" * filled + "·" * (_WIDTH - filled)

    def _text(self, done: int, packages_done: int) -> str:
        seconds = time.monotonic() - self._began
        packages = f"{packages_done}/{self._package_count} packages"
        return f"{done}/{self._total} tasks, {packages}, {100 * done // self._total} %, {seconds:.1f} s"
