"""From rows to doorbells: after the commit, once a transaction, and never at the caller's expense."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from django.db import transaction

from i3tasks_core import events
from i3tasks_core.config import AnyQueue
from i3tasks_core.envelope import Envelope, encode
from i3tasks_core.errors import PubSubError, PubSubMissing
from i3tasks_core.pubsub.provisioning import provision
from i3tasks_core.pubsub.publisher import MAX_MESSAGES
from i3tasks_django import store
from i3tasks_django.runtime import runtime
from i3tasks_django.store.database import TRANSIENT, alias, connection

_DECLARE_PAUSE = (1.0, 60.0)

HOOK_PATIENCE = 2.0
"""Seconds after which a commit hook begins no further request."""


class _Bell:
    """The commit hook of one transaction, or of one savepoint in it; rolled back with it by Django."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    def ring(self) -> None:
        _postpone(_ring(self.envelopes))


class Ringer:
    """Rings for one batch of calls while the next one is written: for a caller who commits many in a row."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="i3tasks-ringer")
        self._under_way: tuple[Future[list[Envelope]], list[Envelope]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._finish()
        self._thread.shutdown()

    def ring(self, envelopes: Sequence[Envelope]) -> None:
        """Ring for what has just been committed. Raises nothing: what is not heard is left to the relay."""
        self._finish()
        batch = list(envelopes)
        self._under_way = self._thread.submit(_ring, batch), batch

    def _finish(self) -> None:
        if self._under_way is None:
            return
        (ringing, batch), self._under_way = self._under_way, None
        try:
            _postpone(batch if ringing.exception() else ringing.result())
        except Exception as error:  # noqa: BLE001 - the calls are recorded; the relay rings for them
            events.PUBLISH_FAILED(queue="", count=len(batch), error=repr(error))


def _ring(envelopes: list[Envelope]) -> list[Envelope]:
    """Ring for these, for as long as a commit hook may take; those that nobody heard."""
    deadline = time.monotonic() + HOOK_PATIENCE
    unheard: list[Envelope] = []
    for batch in _parts(envelopes):
        rung = publish(batch) if time.monotonic() < deadline else []
        unheard += set(batch).difference(rung) if len(rung) < len(batch) else ()
    return unheard


def _postpone(unheard: list[Envelope]) -> None:
    if unheard:
        store.postpone([envelope.try_id for envelope in unheard])  # the relay rings in our place


def publish_on_commit(envelopes: Sequence[Envelope]) -> None:
    """Ring when the current transaction commits; together with everything else that it calls."""
    if not envelopes:
        return
    current = connection()
    savepoints = set(current.savepoint_ids)
    for entry in reversed(current.run_on_commit):
        sids, hook = entry[:2]
        bell = getattr(hook, "__self__", None)
        if isinstance(bell, _Bell) and sids == savepoints:
            bell.envelopes += envelopes
            return
    bell = _Bell()
    bell.envelopes += envelopes
    # robust: whatever goes wrong in here is logged; the caller's work is committed and must not suffer.
    transaction.on_commit(bell.ring, using=alias(), robust=True)


def publish(envelopes: Iterable[Envelope]) -> list[Envelope]:
    """Ring now. Never raises for Pub/Sub's sake: what it does not take, the relay rings for later.

    Returns:
        The doorbells that Pub/Sub took.
    """
    rung: list[Envelope] = []
    for queue_name, batch in _batches(envelopes):
        try:
            _publish_batch(queue_name, batch)
        except PubSubError as error:
            events.PUBLISH_FAILED(queue=queue_name, count=len(batch), error=str(error))
        else:
            rung += batch
    return rung


def publish_declaring(envelopes: Iterable[Envelope]) -> list[Envelope]:
    """The same for the relay, which has the time to declare a topic that does not exist (any more)."""
    wanted = list(envelopes)
    rung = publish(wanted)
    missing = {envelope.queue_name for envelope in wanted} - {envelope.queue_name for envelope in rung}
    if (
        not missing
        or not runtime().config.run_queue_create_command_on_startup
        or runtime().publisher.breaker.is_open
    ):
        return rung
    if not declare([runtime().queue(name) for name in missing if name in runtime().queues]):
        return rung
    return rung + publish(envelope for envelope in wanted if envelope.queue_name in missing)


def declare(queues: Iterable[AnyQueue] | None = None) -> bool:
    """Declare topics and subscriptions as a serving process does when it starts; by default of all queues.

    Returns:
        Whether Pub/Sub could be asked. It being away stops nothing.
    """
    try:
        for queue in runtime().config.queues if queues is None else queues:
            _declare(queue)
    except (PubSubError, *TRANSIENT) as error:
        events.PUBSUB_UNDECLARED(error=str(error))
        return False
    return True


def _declare(queue: AnyQueue) -> None:
    for finding in provision(runtime().clients, runtime().config.namespace, [queue]):
        if finding.action == "created":
            events.PUBSUB_DECLARED(resource=finding.resource, action=finding.action)
            # What rang before there was anybody to hear it: before the first declaration, or before a
            # Pub/Sub that forgets was restarted.
            store.ring_again(queue.queue_name)
        elif finding.action == "drifted":
            events.PUBSUB_DRIFTED(
                resource=finding.resource, field=finding.field, have=finding.have, want=finding.want
            )


def declare_in_background() -> None:
    """Declare everything as soon as Pub/Sub can be asked, without keeping the service from starting."""
    if runtime().config.run_queue_create_command_on_startup:
        threading.Thread(target=_declare_until_done, name="i3tasks-declare", daemon=True).start()


def _declare_until_done() -> None:
    pause = _DECLARE_PAUSE[0]
    while not declare():
        time.sleep(pause)
        pause = min(pause * 2, _DECLARE_PAUSE[1])


def _publish_batch(queue_name: str, batch: list[Envelope]) -> None:
    topic = runtime().topics.get(queue_name)
    if topic is None:
        raise PubSubMissing(
            f"queue {queue_name!r} is not in I3TASKS any more: list it until its tasks are done"
        )
    key = runtime().keys[0]
    runtime().publisher.publish(topic, [encode(envelope, key) for envelope in batch])


def _batches(envelopes: Iterable[Envelope]) -> Iterator[tuple[str, list[Envelope]]]:
    by_queue: defaultdict[str, list[Envelope]] = defaultdict(list)
    for envelope in envelopes:
        by_queue[envelope.queue_name].append(envelope)
    for queue_name, of_queue in by_queue.items():
        for batch in _parts(of_queue):
            yield queue_name, batch


def _parts(envelopes: list[Envelope]) -> Iterator[list[Envelope]]:
    """As many as Pub/Sub takes in one request."""
    return (envelopes[start : start + MAX_MESSAGES] for start in range(0, len(envelopes), MAX_MESSAGES))
