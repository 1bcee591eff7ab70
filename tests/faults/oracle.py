"""What really ran, as the tasks themselves wrote it down: to be compared with what the database says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The start or the end of one run; ``place`` is its number in the file, in order of time."""

    place: int
    what: str
    label: str
    execution_id: UUID
    try_id: int
    pid: int


class Oracle:
    """The file that ``project.fault_tasks`` writes.

    Attributes:
        pids: who has run anything, as far as it was counted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pids: set[int] = set()
        self._read_to = 0
        self._line_count = 0

    def count(self) -> int:
        """How many lines there are by now; reads only the new ones."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
            self._read_to += len(new)
            lines = new.splitlines()
            self._line_count += len(lines)
            self.pids |= {int(line.split()[-1]) for line in lines}
        return self._line_count

    def read(self) -> Runs:
        """Everything, when the last run has ended."""
        return Runs([_parsed(*numbered) for numbered in enumerate(self.path.read_text().splitlines())])


class Runs:
    """All lines of an oracle."""

    def __init__(self, lines: list[Line]) -> None:
        self.starts = [line for line in lines if line.what == "start"]
        self._ends = {line.try_id: line.place for line in lines if line.what == "end"}

    @cached_property
    def first_start(self) -> dict[UUID, int]:
        """Where each execution began for the first time."""
        return {line.execution_id: line.place for line in reversed(self.starts)}

    @property
    def broken_off_count(self) -> int:
        """Runs without an end, so far."""
        return sum(not self.has_ended(line.try_id) for line in self.starts)

    def has_ended(self, try_id: int) -> bool:
        return try_id in self._ends

    def end_of(self, try_id: int) -> int:
        """Where a try ended.

        Raises:
            AssertionError: it did not.
        """
        assert try_id in self._ends, f"try {try_id} has an end in the database that was never run"
        return self._ends[try_id]


def _parsed(place: int, text: str) -> Line:
    what, label, execution_id, try_id, _, pid = text.split()
    return Line(
        place=place,
        what=what,
        label=label,
        execution_id=UUID(execution_id),
        try_id=int(try_id),
        pid=int(pid),
    )
