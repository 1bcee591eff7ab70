"""Groups of ledger entries, called beside the faults and never far ahead of what has run.

Not far ahead, so that the figures say how long a recovery takes and not how long the line is.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import invariants
import ledger
from django.db import DatabaseError, InterfaceError, connections
from oracle import Oracle, Runs

from i3tasks_django import Task
from i3tasks_django.models import TaskExecution, TaskGroup
from project.fault_tasks import book, leave_a_trace
from waiting import wait_until

AHEAD = 200
"""Calls that may wait to be run."""

DRAIN = 120.0
"""Seconds within which everything has ended once the faults are over."""


class Load:
    """Groups of members that book, each with a callback.

    Args:
        oracle: where the runs leave their traces.
        members: of each group.
        queues: the groups go to these in turn.
        is_stubborn: call again when the database fails; whether the call before took effect is unknown then.

    Attributes:
        called: the names of the groups whose call returned.
        doubtful: the names of those whose call failed.
        errors: what those who called were told.
    """

    def __init__(
        self, oracle: Oracle, *, members: int, queues: tuple[str, ...] = ("heavy",), is_stubborn: bool = False
    ) -> None:
        self.called: list[str] = []
        self.doubtful: list[str] = []
        self.errors: set[str] = set()
        self._path, self._members, self._is_stubborn = oracle.path, members, is_stubborn
        self._seen = Oracle(oracle.path)
        self._queues = itertools.cycle(queues)
        self._is_over = False

    @property
    def lines_each(self) -> int:
        """What a group adds to the oracle."""
        return 2 * (self._members + 1)

    @contextmanager
    def running(self, groups: int | None, patience: float) -> Iterator[None]:
        """Call beside the block, so many groups or until its end."""
        numbers: Iterable[int] = itertools.count() if groups is None else range(groups)
        with ThreadPoolExecutor(1) as caller:
            calls = caller.submit(self._call_all, numbers, patience)
            try:
                yield
                self._is_over = groups is None
                calls.result(patience)
            finally:
                self._is_over = True

    def has_ended(self) -> bool:
        is_open = TaskExecution.objects.filter(state="pending").exists()
        return not is_open and not TaskGroup.objects.filter(finished_at=None).exists()

    def check(self, runs: Runs, *, most_lost: int, may_fail: bool = False) -> invariants.Rows:
        """All invariants; every answered call is there, every other whole or absent; the ledger is exact."""
        rows = invariants.Rows()
        invariants.check(rows, runs, most_lost=most_lost, may_fail=may_fail)
        found = Counter(row.task_args[1] for row in rows.executions.values())
        doubtful = {name for name in self.doubtful if f"{name}-joined" in found}
        assert found == Counter(itertools.chain(*map(self._labels, [*self.called, *doubtful])))
        assert {group.status for group in rows.groups} == {"success"}
        assert ledger.total() == self._members * (len(self.called) + len(doubtful))
        return rows

    def _labels(self, name: str) -> list[str]:
        return [f"{name}-joined", *(f"{name}-member-{number}" for number in range(self._members))]

    def _call_all(self, numbers: Iterable[int], patience: float) -> None:
        try:
            for number in numbers:
                wait_until(lambda: self._is_over or self._has_room(), patience)
                if self._is_over:
                    break
                self._call(f"group-{number}", next(self._queues))
        finally:
            connections.close_all()

    def _has_room(self) -> bool:
        return len(self.called) * self.lines_each - self._seen.count() < 2 * AHEAD

    def _call(self, name: str, queue_name: str) -> None:
        for attempt in itertools.count():
            if self._is_over:  # also when the test has failed, and nobody will bring the database back
                return
            try:
                self._dispatch(f"{name}-{attempt}", queue_name)
            except (DatabaseError, InterfaceError) as error:
                if not self._is_stubborn:
                    raise
                self.doubtful.append(f"{name}-{attempt}")
                self.errors.add(str(error))
                connections.close_all()
                time.sleep(0.1)  # as a caller would: nothing tells when a database is back
            else:
                self.called.append(f"{name}-{attempt}")
                return

    def _dispatch(self, name: str, queue_name: str) -> None:
        def on_queue(task: Task) -> Callable:  # type: ignore[type-arg]
            return task.using(queue_name=queue_name).s

        joined, *members = self._labels(name)
        path = str(self._path)
        TaskGroup.dispatch(
            [on_queue(book)(path, label) for label in members], callback=on_queue(leave_a_trace)(path, joined)
        )
