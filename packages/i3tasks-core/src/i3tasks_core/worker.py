"""The pull loop: ask for as many messages as can start soon, claim them, run them, drain at the end."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from i3tasks_core import events
from i3tasks_core.claim import Claim
from i3tasks_core.errors import PubSubError, PubSubMissing
from i3tasks_core.finish import Finish
from i3tasks_core.gatherer import Gatherer
from i3tasks_core.pace import Pace
from i3tasks_core.pubsub.subscriber import Received

LONG_POLL = 20.0
"""Seconds one pull waits for a message."""

MOST_SETTLED = 500
"""Tries whose ends are written in one transaction."""

REST = 0.002
"""Seconds between two such transactions; nothing that ends after a pause waits for it."""

MOST_UNSETTLED = 4 * MOST_SETTLED
"""Tries that have run and whose ends are not written: a slow database must not be run ahead of."""

STALL = 1.0
"""Seconds after which a try that was claimed and finds no free thread is handed back."""

_BACKOFF = (0.1, 3.0)
_CLAIM_PATIENCE = (
    50.0  # just below the subscription's ack deadline: after that the messages are somebody else's
)


_LAST_CLAIM = 5.0
"""Seconds that the end waits for a claim under way, also without grace: a claim takes no longer, or fails."""


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
    """What is done with messages and claims; see ``i3tasks_django.delivery``.

    ``settle`` gives back what somebody else keeps it from writing for now.
    """

    def admit(self, messages: Sequence[Received]) -> Admission: ...
    def run(self, claim: Claim) -> Finish | None: ...
    def settle(self, finishes: Sequence[Finish]) -> Sequence[Finish]: ...
    def release(self, claims: Sequence[Claim]) -> None: ...


class Worker:
    """Runs the tries of one queue in threads, until it is told to stop.

    A message's way leads through four kinds of threads, and each hands on what it has to the next: the puller
    claims, the runners run, the settler writes what has ended meanwhile in one transaction, and the
    acknowledger tells Pub/Sub, which nobody waits for.

    Args:
        source: the queue's subscription.
        delivery: claims, runs and settles.
        queue_name: for the log.
        concurrency: tries at a time.
        redeclare: called when the subscription does not exist (an emulator forgets everything).

    Attributes:
        started_count: tries begun so far.
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
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._has_room = threading.Condition(self._lock)
        self._is_idle = threading.Condition(self._lock)
        self._waiting: deque[Claim] = deque()
        self._started_at = time.monotonic()
        self.started_count = 0
        self._is_admitting = False
        self._running_count = 0
        self._unsettled_count = 0
        self._blocked: list[Finish] = []
        self._ended = threading.Event()
        self._pace = Pace(concurrency)
        self._settler = Gatherer(self._settle, most=MOST_SETTLED, rest=REST, name="i3tasks-settler")
        self._acknowledger = Gatherer(self._acknowledge, most=100, rest=REST, name="i3tasks-acknowledger")
        self._puller = threading.Thread(target=self._pull_until_stopped, name="i3tasks-puller", daemon=True)
        self._threads = [
            threading.Thread(
                target=self._run_until_stopped, name=f"i3tasks-{queue_name}_{number}", daemon=True
            )
            for number in range(concurrency)
        ]
        self._threads.append(threading.Thread(target=self._watch, name="i3tasks-watch", daemon=True))

    def start(self) -> None:
        self._settler.start()
        self._acknowledger.start()
        for thread in (*self._threads, self._puller):
            thread.start()

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
        deadline = time.monotonic() + grace
        self._stopping.set()
        self._source.close()
        with self._lock:
            self._has_room.notify_all()
            self._has_work.notify_all()
        if self._puller.is_alive():
            self._puller.join(grace)
        with self._lock:  # what is being claimed would be nobody's: it is waited for, and handed back
            self._is_idle.wait_for(lambda: not self._is_admitting, _LAST_CLAIM)
        self._release(self._take_waiting())
        with self._lock:
            self._is_idle.wait_for(lambda: not self._left(), max(0.0, deadline - time.monotonic()))
            left = self._left()
        self._acknowledger.close(max(0.0, deadline - time.monotonic()))
        self._settler.close(0.0)
        self._ended.set()
        return left

    def _left(self) -> int:
        return self._running_count + self._unsettled_count + self._is_admitting

    # --- the puller

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
        """How many messages to ask for, as soon as it is worth asking; 0 when it is time to stop."""
        with self._lock:
            self._has_room.wait_for(lambda: self._stopping.is_set() or self._room() > 0)
            return 0 if self._stopping.is_set() else self._room()

    def _room(self) -> int:
        ahead = self._pace.ahead
        # Half of what may wait has started: one request for many beats many for a few.
        if len(self._waiting) > ahead // 2 or self._unsettled_count > MOST_UNSETTLED:
            return 0
        return self._concurrency + ahead - self._running_count - len(self._waiting)

    def _after_failed_pull(self, error: PubSubError, failures: int) -> None:
        events.PULL_FAILED(queue=self._queue_name, error=str(error))
        if isinstance(error, PubSubMissing):
            self._redeclare()
        self._stopping.wait(_backoff(failures))

    def _take(self, messages: list[Received]) -> None:
        self._is_admitting = True
        try:
            admission = self._admit(messages)
            if admission is None:
                return
            if not self._begin(admission.claims):
                self._release(admission.claims)
        finally:
            with self._lock:
                self._is_admitting = False
                self._tell()
        # Claimed is committed, so the message has done its work whatever becomes of the task.
        if admission.consumed:
            self._acknowledger.put(admission.consumed)

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

    def _begin(self, claims: list[Claim]) -> bool:
        """Let the runners have them, unless the worker was told to stop while they were being claimed."""
        with self._lock:
            if self._stopping.is_set():
                return False
            if not self._waiting:
                self._started_at = time.monotonic()
            self._waiting.extend(claims)
            self._has_work.notify(len(claims))
        return True

    # --- the runners

    def _run_until_stopped(self) -> None:
        while (claim := self._next()) is not None:
            began = time.monotonic()
            finish: Finish | None = None
            try:
                finish = self._delivery.run(claim)
            except Exception as error:  # noqa: BLE001 - the thread's next try must not suffer
                events.TRY_UNSETTLED(**claim.facts, error=repr(error))
            self._end(finish, time.monotonic() - began)

    def _next(self) -> Claim | None:
        with self._lock:
            while not self._waiting:
                if self._stopping.is_set():
                    return None
                self._has_work.wait()
            self._started_at = time.monotonic()
            self.started_count += 1
            self._running_count += 1
            claim = self._waiting.popleft()
            self._tell()
            return claim

    def _end(self, finish: Finish | None, seconds: float) -> None:
        with self._lock:
            self._running_count -= 1
            self._unsettled_count += finish is not None
            self._pace.saw(seconds)
            self._tell()
        if finish is not None:
            self._settler.put(finish)

    def _tell(self) -> None:
        """Wake those who wait for room or for the end; the lock is held."""
        if self._room() > 0:
            self._has_room.notify()
        if self._stopping.is_set():
            self._is_idle.notify_all()

    # --- the settler and the acknowledger

    def _settle(self, finishes: list[Finish]) -> None:
        blocked: Sequence[Finish] = ()
        try:
            blocked = self._delivery.settle(finishes)
        finally:
            with self._lock:
                self._blocked.extend(blocked)
                self._unsettled_count -= len(finishes) - len(blocked)
                self._tell()

    def _acknowledge(self, batches: list[list[str]]) -> None:
        try:
            self._source.acknowledge([ack_id for batch in batches for ack_id in batch])
        except PubSubError as error:
            events.ACKNOWLEDGE_FAILED(queue=self._queue_name, error=str(error))

    # --- what waits

    def _watch(self) -> None:
        while not self._ended.wait(STALL / 2):
            self._release_stalled()
            self._settle_blocked()

    def _release_stalled(self) -> None:
        """Long tasks after short ones: what was claimed to start at once waits, while others are idle."""
        with self._lock:
            stalled = time.monotonic() - self._started_at if self._waiting else 0.0
            if stalled > STALL:
                self._pace.stalled(stalled)
        if stalled > STALL:
            self._release(self._take_waiting())

    def _settle_blocked(self) -> None:
        """Hand in once more what somebody kept from being written; meanwhile the others are."""
        with self._lock:
            blocked, self._blocked = self._blocked, []
        for finish in blocked:
            self._settler.put(finish)

    def _take_waiting(self) -> list[Claim]:
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            self._tell()
        return taken

    def _release(self, claims: list[Claim]) -> None:
        if not claims:
            return
        try:
            self._delivery.release(claims)
        except Exception as error:  # noqa: BLE001 - their leases run out; what runs still gets its grace
            events.RELEASE_FAILED(queue=self._queue_name, error=repr(error))


def _backoff(failures: int) -> float:
    least, most = _BACKOFF
    return random.uniform(0.5, 1.0) * min(most, least * 2.0 ** min(failures, 10))  # noqa: S311 - not a secret
