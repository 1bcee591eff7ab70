"""Interrupt a function that runs too long, from one watchdog thread a process.

CPython can raise an exception in another thread between two of its bytecodes, so Python code is stopped
at once and a blocking call in C when it comes back. Nothing else can stop a thread.
https://docs.python.org/3/c-api/threads.html#c.PyThreadState_SetAsyncExc

The exception may arrive anywhere, in this module's own lines too. So the watched thread never takes a lock
that others need: interrupted between taking it and releasing it, it would hold it for ever
(test_the_watchdog_outlives_blocks_that_end_as_it_fires).
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import queue
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

from i3tasks_core.errors import TaskTimeout

_LONGEST_WAIT = 3600.0  # seconds; a lock refuses to wait for centuries, a timeout may ask for them
_SWEEP_AT = 1000


class _Deadline:
    """Armed until its block ends or the watchdog fires it, whichever comes first.

    Attributes:
        armed: empty when not any more; a list because its ``pop`` is atomic.
        around: the deadline of the block around this one.
        fired: the watchdog was first.
        raised: held until the watchdog has raised the exception.
    """

    __slots__ = ("armed", "around", "at", "fired", "raised", "thread_id")

    def __init__(self, at: float, around: _Deadline | None) -> None:
        self.at, self.around = at, around
        self.thread_id = threading.get_ident()
        self.fired = False
        self.raised = threading.Lock()
        self.raised.acquire()
        self.armed = [True]

    def disarm(self) -> bool:
        """Whether this call was the one that did it."""
        try:
            self.armed.pop()  # atomic, and no lock to leave behind
        except IndexError:
            return False
        return True

    def is_open(self) -> bool:
        """Armed, and every block around it as well.

        When an outer deadline's exception keeps ``finish`` from disarming an inner one, the inner one must
        not fire into whatever the thread does next.
        """
        deadline: _Deadline | None = self
        while deadline is not None and deadline.armed:
            deadline = deadline.around
        return deadline is None


class _Watchdog:
    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # threads do not survive a fork

    def _reset(self) -> None:
        self._new: queue.SimpleQueue[_Deadline] = queue.SimpleQueue()
        self._heap: list[tuple[float, int, _Deadline]] = []
        self._order = itertools.count()
        self._sweep_at = _SWEEP_AT
        self._unstarted = [True]
        self._innermost = threading.local()

    def watch(self, seconds: float) -> _Deadline:
        around: _Deadline | None = getattr(self._innermost, "deadline", None)
        while around is not None and not around.is_open():
            around = around.around
        deadline = _Deadline(time.monotonic() + seconds, around)
        self._innermost.deadline = deadline
        self._start()
        self._new.put(deadline)
        return deadline

    def finish(self, deadline: _Deadline) -> None:
        """After this, returned or interrupted, the deadline raises nothing any more."""
        if deadline.disarm():
            return
        with deadline.raised:
            # Raised but perhaps not delivered: take it back, or it would hit whatever runs next.
            _raise_in(deadline.thread_id, None)
        if deadline.around is not None and deadline.around.fired:
            raise TaskTimeout  # a thread has room for one exception: the outer one's went with ours

    def _start(self) -> None:
        try:
            self._unstarted.pop()
        except IndexError:
            return
        try:
            threading.Thread(target=self._run, name="i3tasks-deadline", daemon=True).start()
        except BaseException:
            self._unstarted.append(True)  # or no deadline of this process would ever fire
            raise

    def _run(self) -> None:
        while True:
            self._receive()
            while self._heap and self._heap[0][0] <= time.monotonic():
                self._fire(heapq.heappop(self._heap)[2])

    def _receive(self) -> None:
        """Wait for a new deadline, but not past the next one that is due."""
        wait = self._heap[0][0] - time.monotonic() if self._heap else _LONGEST_WAIT
        try:
            deadline = self._new.get(timeout=min(max(wait, 0.0), _LONGEST_WAIT))
        except queue.Empty:
            return
        heapq.heappush(self._heap, (deadline.at, next(self._order), deadline))
        if len(self._heap) >= self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        """Forget the blocks that have ended: quick tasks with long timeouts would pile up for hours."""
        self._heap = [entry for entry in self._heap if entry[2].is_open()]
        heapq.heapify(self._heap)
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._heap))

    def _fire(self, deadline: _Deadline) -> None:
        if deadline.is_open() and deadline.disarm():
            deadline.fired = True
            _raise_in(deadline.thread_id, TaskTimeout)
            deadline.raised.release()


_watchdog = _Watchdog()


class _Watched:
    """The block.

    A class and not a generator: one that is interrupted on its way out would be ended by the garbage
    collector, when its thread runs something else already.
    """

    __slots__ = ("_deadline", "_timeout")

    def __init__(self, timeout: timedelta) -> None:
        self._timeout = timeout

    def __enter__(self) -> None:
        self._deadline = _watchdog.watch(self._timeout.total_seconds())

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        try:
            _watchdog.finish(self._deadline)
        except TaskTimeout as late:  # delivered on the way out
            self._name(late)
            raise
        self._name(error)

    def _name(self, error: BaseException | None) -> None:
        """The interpreter made the exception, and knew no arguments."""
        if isinstance(error, TaskTimeout) and self._deadline.fired and error.args == TaskTimeout().args:
            error.args = TaskTimeout(self._timeout).args


def within(timeout: timedelta | None) -> AbstractContextManager[None]:
    """Raise TaskTimeout in the calling thread when the block takes longer than ``timeout``."""
    return nullcontext() if timeout is None else _Watched(timeout)


def _raise_in(thread_id: int, error: type[BaseException] | None) -> None:
    exception = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), exception)
