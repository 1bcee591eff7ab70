"""Many threads ask for the same kind of thing at once, and one of them does it for all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from i3tasks_core.gatherer import Gatherer

T = TypeVar("T")
R = TypeVar("R")


class Shared(Generic[T, R]):
    """A function of one item, done for all those together that were asked for at the same moment.

    Args:
        do: a result for each item, in their order. Called from this object's thread only, which starts with
            the first call of a process.
        most: items of one call, at most.
        name: of the thread.
        unwanted: takes a result that came when nobody waited for it any more.
    """

    def __init__(
        self,
        do: Callable[[list[T]], list[R]],
        *,
        most: int,
        name: str,
        unwanted: Callable[[R], object] = lambda _: None,
    ) -> None:
        self._do, self._unwanted = do, unwanted
        self._most, self._name = most, name
        self._pid = 0
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """A child may have been forked while somebody held it."""
        self._lock = threading.Lock()

    def __call__(self, item: T, timeout: float) -> R:
        """Its result.

        Args:
            item: what to do it for.
            timeout: seconds to wait for it.

        Raises:
            TimeoutError: it has not begun, and never will; or its result will be ``unwanted``.
            Exception: what ``do`` raised.
        """
        future: Future[R] = Future()
        self._put((item, future))
        try:
            return future.result(timeout)
        except TimeoutError:
            if not future.cancel():
                future.add_done_callback(self._leave)
            raise

    def _leave(self, future: Future[R]) -> None:
        if future.exception() is None:
            self._unwanted(future.result())

    def _put(self, asked: tuple[T, Future[R]]) -> None:
        with self._lock:
            if self._pid != os.getpid():  # threads do not survive a fork
                self._gatherer = Gatherer(self._handle, most=self._most, rest=0.001, name=self._name)
                self._gatherer.start()
                self._pid = os.getpid()
        self._gatherer.put(asked)

    def _handle(self, asked: list[tuple[T, Future[R]]]) -> None:
        begun = [each for each in asked if each[1].set_running_or_notify_cancel()]
        if not begun:
            return
        try:
            results = self._do([item for item, _ in begun])
        except BaseException as error:  # noqa: BLE001 - it is the callers'
            for _, future in begun:
                future.set_exception(error)
        else:
            for (_, future), result in zip(begun, results, strict=True):
                future.set_result(result)
