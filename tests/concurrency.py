"""Several things at the same time, each on a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run the actions in threads that start together; their results in the same order."""
    barrier = threading.Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(index: int, action: Callable[[], Any]) -> None:
        try:
            barrier.wait(10)
            results[index] = action()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "two transactions wait for each other"
    return results


@contextmanager
def kept_open(action: Callable[[], Any]) -> Iterator[None]:
    """The action's transaction, on another connection, commits when the block ends."""
    began, go_on = threading.Event(), threading.Event()

    def keep() -> None:
        try:
            with transaction.atomic():
                action()
                began.set()
                go_on.wait(60)
        finally:
            began.set()
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        keeping = pool.submit(keep)
        try:
            assert began.wait(20)
            yield
        finally:
            go_on.set()
            keeping.result(20)
