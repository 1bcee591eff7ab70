"""Interrupt a function that runs too long, from one watchdog thread a process.

CPython can raise an exception in another thread between two of its bytecodes, so Python code is stopped
at once and a blocking call in C when it comes back. Nothing else can stop a thread.
https://docs.python.org/3/c-api/threads.html#c.PyThreadState_SetAsyncExc
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from i3tasks_core.errors import TaskTimeout


class _Deadline:
    __slots__ = ("fired", "over", "thread_id")

    def __init__(self, thread_id: int) -> None:
        self.thread_id = thread_id
        self.fired = self.over = False


class _Watchdog:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, _Deadline]] = []
        self._order = itertools.count()
        self._pid = 0

    def watch(self, seconds: float) -> _Deadline:
        deadline = _Deadline(threading.get_ident())
        with self._changed:
            self._start()
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._order), deadline))
            self._changed.notify()
        return deadline

    def finish(self, deadline: _Deadline) -> None:
        """After this returns the deadline raises nothing any more."""
        with self._changed:
            deadline.over = True
            if deadline.fired:
                # Fired but not yet delivered: take it back, or it would hit whatever runs next.
                _raise_in(deadline.thread_id, None)

    def _start(self) -> None:
        if self._pid != os.getpid():  # threads do not survive a fork
            self._pid = os.getpid()
            self._heap.clear()
            threading.Thread(target=self._run, name="i3tasks-deadline", daemon=True).start()

    def _run(self) -> None:
        with self._changed:
            while True:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                deadline = heapq.heappop(self._heap)[2]
                if not deadline.over:
                    deadline.fired = True
                    _raise_in(deadline.thread_id, TaskTimeout)


_watchdog = _Watchdog()


@contextmanager
def within(timeout: timedelta | None) -> Iterator[None]:
    """Raise TaskTimeout in the calling thread when the block takes longer than ``timeout``."""
    if timeout is None:
        yield
        return
    deadline = _watchdog.watch(timeout.total_seconds())
    try:
        try:
            yield
        finally:
            _watchdog.finish(deadline)
    except TaskTimeout as error:
        error.args = TaskTimeout(timeout).args  # the interpreter made it, and knew no arguments
        raise


def _raise_in(thread_id: int, error: type[BaseException] | None) -> None:
    exception = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), exception)
