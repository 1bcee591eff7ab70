"""Hand doorbells to Pub/Sub, and see that it has the topics and subscriptions for them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from i3tasks_core import events
from i3tasks_core.config import AnyQueue
from i3tasks_core.envelope import Envelope, encode
from i3tasks_core.errors import PubSubError, PubSubMissing
from i3tasks_core.pubsub.provisioning import provision
from i3tasks_core.pubsub.publisher import MAX_MESSAGES
from i3tasks_django import store
from i3tasks_django.runtime import runtime
from i3tasks_django.store.database import TRANSIENT

_DECLARE_PAUSE = (1.0, 60.0)


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


def _publish_batch(queue_name: str, batch: Sequence[Envelope]) -> None:
    topic = runtime().topics.get(queue_name)
    if topic is None:
        raise PubSubMissing(
            f"queue {queue_name!r} is not in I3TASKS any more: list it until its tasks are done"
        )
    key = runtime().keys[0]
    runtime().publisher.publish(topic, [encode(envelope, key) for envelope in batch])


def _batches(envelopes: Iterable[Envelope]) -> Iterator[tuple[str, Sequence[Envelope]]]:
    by_queue: defaultdict[str, list[Envelope]] = defaultdict(list)
    for envelope in envelopes:
        by_queue[envelope.queue_name].append(envelope)
    for queue_name, of_queue in by_queue.items():
        for batch in batches_of(of_queue):
            yield queue_name, batch


def batches_of(envelopes: Sequence[Envelope]) -> Iterator[Sequence[Envelope]]:
    """As many as Pub/Sub takes in one request."""
    return (envelopes[start : start + MAX_MESSAGES] for start in range(0, len(envelopes), MAX_MESSAGES))
