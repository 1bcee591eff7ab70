"""From commits to doorbells: once a transaction, from a thread of its own: no caller waits for Pub/Sub."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence
from itertools import islice
from multiprocessing.util import Finalize

from django.db import connections, transaction

from i3tasks_core import events
from i3tasks_core.envelope import Envelope
from i3tasks_core.gatherer import Gatherer
from i3tasks_django import store
from i3tasks_django.publishing import batches_of, publish
from i3tasks_django.store.database import alias, connection

PATIENCE = 2.0
"""Seconds after which no further request is begun for what was rung together."""

EXIT_PATIENCE = 5.0
"""Seconds that a process which ends waits for its last doorbells."""

REST = 0.005
"""Seconds between two requests: calls one after the other share one, a single call waits for nobody."""

LONGER_REST = 0.02
"""The same after a request that many transactions shared: who makes many calls has use for the CPU."""

MOST_PENDING = 2_000
"""Doorbells that may wait for the thread; who comes after them rings himself, and so is slowed down."""

_MOST_LOOKED_AT = 10
"""Commit hooks among which a call looks for its transaction's bell. It may stand behind thousands, of others
or of savepoints, and a second bell costs next to nothing."""


def publish_on_commit(envelopes: Sequence[Envelope]) -> None:
    """Ring when the current transaction commits; together with everything else that it calls."""
    if not envelopes:
        return
    current = connection()
    savepoints = set(current.savepoint_ids)
    for entry in islice(reversed(current.run_on_commit), _MOST_LOOKED_AT):
        sids, hook = entry[:2]
        bell = getattr(hook, "__self__", None)
        if isinstance(bell, _Bell) and sids == savepoints:
            bell.envelopes += envelopes
            return
    bell = _Bell()
    bell.envelopes += envelopes
    # robust: whatever goes wrong in here is logged; the caller's work is committed and must not suffer.
    transaction.on_commit(bell.ring, using=alias(), robust=True)


class _Bell:
    """The commit hook of one transaction, or of one savepoint in it; rolled back with it by Django."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    def ring(self) -> None:
        ring(self.envelopes)


def ring(envelopes: Sequence[Envelope]) -> None:
    """Ring for what has been committed, without waiting for it. Raises nothing."""
    _ringer.ring(envelopes)


def flush(timeout: float = PATIENCE) -> bool:
    """Wait until everything is rung that this process has committed by now; whether it was in time.

    For those whose process may be stopped, or get no processor, as soon as they are done: a request on a
    server that scales to zero, a command.
    """
    return _ringer.flush(timeout)


def ring_now(envelopes: Sequence[Envelope]) -> None:
    """Ring in this thread. Raises nothing: what is not heard is left to the relay."""
    unheard = envelopes
    try:
        unheard = _unheard(envelopes)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not pass for having rung
        events.PUBLISH_FAILED(queue="", count=len(envelopes), error=repr(error))
    try:
        if unheard:
            store.postpone([envelope.try_id for envelope in unheard])
    except Exception as error:  # noqa: BLE001 - the calls are recorded; the relay rings for them in a while
        events.PUBLISH_FAILED(queue="", count=len(unheard), error=repr(error))


def _unheard(envelopes: Sequence[Envelope]) -> list[Envelope]:
    deadline = time.monotonic() + PATIENCE
    unheard: list[Envelope] = []
    for batch in batches_of(envelopes):
        rung = publish(batch) if time.monotonic() < deadline else []
        unheard += set(batch).difference(rung) if len(rung) < len(batch) else ()
    return unheard


class Ringer:
    """The thread, which starts with the first doorbell of a process, and how far it has come."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def ring(self, envelopes: Sequence[Envelope]) -> None:
        with self._progress:
            has_room = self._asked_count - self._done_count < MOST_PENDING
            if has_room and not self._is_ending and self._start():
                self._asked_count += len(envelopes)
                self._gatherer.put(envelopes)
                return
        ring_now(envelopes)

    def flush(self, timeout: float) -> bool:
        with self._progress:
            asked_count = self._asked_count
            return self._progress.wait_for(lambda: self._done_count >= asked_count, timeout)

    def end(self) -> None:
        """The process ends: wait for the last doorbells. Who still calls after this rings himself.

        Exit handlers that were registered earlier do, and threads of a child of multiprocessing.
        """
        with self._progress:
            self._is_ending = True
        self.flush(EXIT_PATIENCE)

    def _forget(self) -> None:
        """Threads do not survive a fork, and what the parent was asked for is the parent's to ring."""
        self._progress = threading.Condition()
        self._asked_count = self._done_count = 0
        self._is_started = self._is_ending = False
        self._gatherer = Gatherer(
            self._ring, most=MOST_PENDING, rest=REST, longer_rest=LONGER_REST, name="i3tasks-ringer"
        )

    def _start(self) -> bool:
        if not self._is_started:
            try:
                self._gatherer.start()
            except RuntimeError:  # an interpreter that shuts down starts no threads
                return False
            self._is_started = True
            atexit.register(self.end)
            # A child of multiprocessing ends without the above.
            Finalize(None, self.end, exitpriority=0)
        return True

    def _ring(self, asked: list[Sequence[Envelope]]) -> None:
        envelopes = [envelope for each in asked for envelope in each]
        try:
            ring_now(envelopes)
        finally:
            connections.close_all()  # one was opened if Pub/Sub did not answer; it may be long until the next
            with self._progress:
                self._done_count += len(envelopes)
                self._progress.notify_all()


_ringer = Ringer()
