"""Keep the leases of everything this process runs alive, by one statement every so often."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from i3tasks_core import events
from i3tasks_core.claim import Claim


class Heart:
    """Renews leases from a thread of its own, which starts with the first claim and ends with the process.

    Args:
        renew: extends the leases of the claims it is given and says which of them are still held,
            by try id. Called from the heart's thread only.
        every: time between two beats.
    """

    def __init__(self, renew: Callable[[Collection[Claim]], set[int]], every: timedelta) -> None:
        self._renew = renew
        self._every = every.total_seconds()
        self._held: dict[int, Claim] = {}
        self._pid = 0
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """A child may have been forked while somebody held it."""
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Keep the claim's lease alive while the block runs."""
        self.hold([claim])
        try:
            yield
        finally:
            self.drop([claim])

    def hold(self, claims: Collection[Claim]) -> None:
        with self._lock:
            self._start()
            self._held.update((claim.try_id, claim) for claim in claims)

    def drop(self, claims: Iterable[Claim]) -> None:
        with self._lock:
            for claim in claims:
                held = self._held.get(claim.try_id)
                # A try that was released may be claimed again before its first claim is dropped.
                if held is not None and held.fence == claim.fence:
                    del self._held[claim.try_id]

    def _start(self) -> None:
        if self._pid != os.getpid():  # threads do not survive a fork
            self._held.clear()
            threading.Thread(target=self._run, name="i3tasks-heart", daemon=True).start()
            self._pid = os.getpid()  # not before: a start that fails is tried again

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._every):
            self._beat()

    def _beat(self) -> None:
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        try:
            kept = self._renew(held)
        except Exception as error:  # noqa: BLE001 - a database that is away now may be back before the lease ends
            events.HEARTBEAT_FAILED(error=repr(error))
            return
        for claim in held:
            if claim.try_id not in kept and self._held.get(claim.try_id) is claim:
                self._lose(claim)

    def _lose(self, claim: Claim) -> None:
        # The task goes on: nothing can stop it safely, and its finish will be refused by the fence.
        self.drop([claim])
        events.LEASE_LOST(**claim.facts)
