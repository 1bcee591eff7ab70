"""Declare topics and subscriptions: make what is missing, tell what differs, mend it when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from i3tasks_core import names
from i3tasks_core.config import AnyQueue
from i3tasks_core.errors import PubSubMissing
from i3tasks_core.pubsub.advice import advised
from i3tasks_core.pubsub.clients import Clients, bounded
from i3tasks_core.pubsub.subscription import Drift, drifts, mended, wanted

_PATIENCE = 5.0

Action = Literal["present", "missing", "created", "drifted", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found, and done, about one topic or one field of a subscription.

    Attributes:
        remedy: what to do by hand about a field that nothing here can mend.
    """

    resource: str
    action: Action
    field: str = ""
    have: str = ""
    want: str = ""
    remedy: str = ""


def provision(
    clients: Clients,
    namespace: str,
    queues: Sequence[AnyQueue],
    *,
    fix: bool = False,
    only_print: bool = False,
) -> Iterator[Finding]:
    """Declare every queue's topics and subscription.

    Args:
        clients: where the client comes from; its configuration says which token pushes carry.
        namespace: prefix of the names.
        queues: what to declare.
        fix: mend fields that differ.
        only_print: change nothing, only tell.

    Raises:
        PubSubError: Pub/Sub is away or refused; the text says what to change.
    """
    config = clients.config
    declared: set[str] = set()
    for queue in queues:
        for topic in _topics(queue, config.project_id, namespace):
            if topic not in declared:
                declared.add(topic)
                yield _declare_topic(clients, topic, only_print=only_print)
        want = wanted(queue, config.project_id, namespace, config.push_auth)
        yield from _declare_subscription(clients, want, fix=fix and not only_print, only_print=only_print)


def _topics(queue: AnyQueue, project: str, namespace: str) -> Iterator[str]:
    yield names.topic_path(project, names.topic_id(namespace, queue.queue_name))
    if queue.dead_letter_topic is not None:
        yield names.topic_path(project, queue.dead_letter_topic)


def _declare_topic(clients: Clients, topic: str, *, only_print: bool) -> Finding:
    try:
        with advised(f"look up {topic}", clients.config):
            publisher = clients.publisher()
            publisher.get_topic(topic=topic, **bounded(_PATIENCE))
    except PubSubMissing:
        if only_print:
            return Finding(resource=topic, action="missing")
        with advised(f"create {topic}", clients.config):
            _unless_it_exists(lambda: publisher.create_topic(name=topic, **bounded(_PATIENCE)))
        return Finding(resource=topic, action="created")
    return Finding(resource=topic, action="present")


def _declare_subscription(clients: Clients, want: Any, *, fix: bool, only_print: bool) -> Iterator[Finding]:
    try:
        with advised(f"look up {want.name}", clients.config):
            subscriber = clients.subscriber()
            have = subscriber.get_subscription(subscription=want.name, **bounded(_PATIENCE))
    except PubSubMissing:
        if not only_print:
            with advised(f"create {want.name}", clients.config):
                _unless_it_exists(lambda: subscriber.create_subscription(request=want, **bounded(_PATIENCE)))
        yield Finding(resource=want.name, action="missing" if only_print else "created")
        return
    found = drifts(have, want)
    if fix:
        _mend(clients, have, want, found)
    if not found:
        yield Finding(resource=want.name, action="present")
    for drift in found:
        yield Finding(
            resource=want.name,
            action="fixed" if fix and drift.path else "drifted",
            field=drift.field,
            have=drift.have,
            want=drift.want,
            remedy=drift.remedy,
        )


def _mend(clients: Clients, have: Any, want: Any, found: list[Drift]) -> None:
    paths = sorted({drift.path for drift in found if drift.path})
    if not paths:
        return
    request = {"subscription": mended(have, want, paths), "update_mask": {"paths": paths}}
    with advised(f"update {want.name}", clients.config):
        clients.subscriber().update_subscription(request=request, **bounded(_PATIENCE))


def _unless_it_exists(create: Any) -> None:
    from google.api_core.exceptions import AlreadyExists

    try:
        create()
    except AlreadyExists:
        return  # several services start at once and declare the same things
