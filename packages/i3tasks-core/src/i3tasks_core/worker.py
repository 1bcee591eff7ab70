"""The pull loop: ask for as many messages as there are free slots, claim them, run them, drain at the end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from i3tasks_core import events
from i3tasks_core.claim import Claim
from i3tasks_core.errors import PubSubError, PubSubMissing
from i3tasks_core.pubsub.subscriber import Received

LONG_POLL = 20.0
"""Seconds one pull waits for a message."""

_BACKOFF = (0.1, 3.0)
_CLAIM_PATIENCE = (
    50.0  # just below the subscription's ack deadline: after that the messages are somebody else's
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What became of a batch of messages: what may run now, and which messages are dealt with."""

    claims: list[Claim]
    consumed: list[str]


class Source(Protocol):
    """Where messages come from; see ``i3tasks_core.pubsub.subscriber.Subscriber``."""

    def pull(self, max_messages: int, timeout: float) -> list[Received]: ...
    def acknowledge(self, ack_ids: Sequence[str]) -> None: ...
    def close(self) -> None: ...


class Delivery(Protocol):
    """What is done with messages and claims."""

    def admit(self, messages: Sequence[Received]) -> Admission: ...
    def perform(self, claim: Claim) -> object: ...
    def release(self, claims: Sequence[Claim]) -> None: ...


class Worker:
    """Runs the tries of one queue in threads, until it is told to stop.

    Args:
        source: the queue's subscription.
        delivery: claims, runs and settles.
        queue_name: for the log.
        concurrency: tries at a time.
        redeclare: called when the subscription does not exist (an emulator forgets everything).
    """

    def __init__(
        self,
        *,
        source: Source,
        delivery: Delivery,
        queue_name: str,
        concurrency: int,
        redeclare: Callable[[], None],
    ) -> None:
        self._source, self._delivery, self._redeclare = source, delivery, redeclare
        self._queue_name = queue_name
        self._concurrency = concurrency
        self._stopping = threading.Event()
        self._slots = threading.Condition()
        self._running: dict[Future[object], Claim] = {}
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=f"i3tasks-{queue_name}")
        self._puller = threading.Thread(target=self._pull_until_stopped, name="i3tasks-puller", daemon=True)

    def start(self) -> None:
        self._puller.start()

    def is_alive(self) -> bool:
        """Whether the pull loop still turns."""
        return self._puller.is_alive()

    def stop(self, grace: float) -> int:
        """Pull no more, let what runs end, hand back what has not started.

        Args:
            grace: seconds the running tries are given.

        Returns:
            How many are still running; their leases run out and others take over.
        """
        self._stopping.set()
        self._source.close()
        with self._slots:
            self._slots.notify_all()
        deadline = time.monotonic() + grace
        if self._puller.is_alive():
            self._puller.join(grace)
        with self._slots:
            self._pool.shutdown(wait=False)
            running = dict(self._running)
        self._release([claim for future, claim in running.items() if future.cancel()])
        left = wait(running, timeout=max(0.0, deadline - time.monotonic())).not_done
        return len(left)

    def _pull_until_stopped(self) -> None:
        failures = 0
        while room := self._wait_for_room():
            try:
                messages = self._source.pull(room, LONG_POLL)
            except PubSubError as error:
                self._after_failed_pull(error, failures)
                failures += 1
                continue
            failures = 0
            if messages:
                self._take(messages)

    def _wait_for_room(self) -> int:
        """Free slots, as soon as there is one; 0 when it is time to stop."""
        with self._slots:
            self._slots.wait_for(lambda: self._stopping.is_set() or len(self._running) < self._concurrency)
            return 0 if self._stopping.is_set() else self._concurrency - len(self._running)

    def _after_failed_pull(self, error: PubSubError, failures: int) -> None:
        events.PULL_FAILED(queue=self._queue_name, error=str(error))
        if isinstance(error, PubSubMissing):
            self._redeclare()
        self._stopping.wait(_backoff(failures))

    def _take(self, messages: list[Received]) -> None:
        admission = self._admit(messages)
        if admission is None:
            return
        self._release([claim for claim in admission.claims if not self._begin(claim)])
        if not admission.consumed:
            return
        try:
            # Claimed is committed, so the message has done its work whatever becomes of the task.
            self._source.acknowledge(admission.consumed)
        except PubSubError as error:
            events.ACKNOWLEDGE_FAILED(queue=self._queue_name, error=str(error))

    def _admit(self, messages: list[Received]) -> Admission | None:
        """Claim the batch, through a database outage too, for as long as the messages are ours."""
        deadline = time.monotonic() + _CLAIM_PATIENCE
        failures = 0
        while time.monotonic() < deadline:
            try:
                return self._delivery.admit(messages)
            except Exception as error:  # noqa: BLE001 - whatever it is, the loop must outlive it
                events.CLAIM_FAILED(queue=self._queue_name, error=repr(error))
            if self._stopping.wait(_backoff(failures)):
                return None
            failures += 1
        return None

    def _begin(self, claim: Claim) -> bool:
        """Start it in a thread, unless the worker was told to stop while the batch was being claimed."""
        with self._slots:  # in here the pool is open for as long as the flag is not set
            if self._stopping.is_set():
                return False
            future = self._pool.submit(self._delivery.perform, claim)
            self._running[future] = claim
        future.add_done_callback(self._end)
        return True

    def _release(self, claims: list[Claim]) -> None:
        if not claims:
            return
        try:
            self._delivery.release(claims)
        except Exception as error:  # noqa: BLE001 - their leases run out; what runs still gets its grace
            events.RELEASE_FAILED(queue=self._queue_name, error=repr(error))

    def _end(self, future: Future[object]) -> None:
        with self._slots:
            self._running.pop(future, None)
            self._slots.notify()


def _backoff(failures: int) -> float:
    least, most = _BACKOFF
    return random.uniform(0.5, 1.0) * min(most, least * 2.0 ** min(failures, 10))  # noqa: S311 - not a secret
