"""Declare topics and subscriptions: make what is missing, tell what differs, mend it when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from i3tasks_core import names
from i3tasks_core.config import AnyQueue, PushQueue
from i3tasks_core.errors import PubSubMissing
from i3tasks_core.pubsub.clients import Clients, bounded, translated

_PUSH_DEADLINE = 600  # a push is answered when the task is done
_PULL_DEADLINE = 60  # a pull is acknowledged as soon as it is claimed
_BACKOFF = (10, 600)
_PATIENCE = 5.0

Action = Literal["present", "missing", "created", "drifted", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found, and done, about one topic or one field of a subscription."""

    resource: str
    action: Action
    field: str = ""
    have: str = ""
    want: str = ""


def provision(
    clients: Clients,
    namespace: str,
    queues: Sequence[AnyQueue],
    *,
    fix: bool = False,
    only_print: bool = False,
) -> Iterator[Finding]:
    """Declare every queue's topic and subscription.

    Args:
        clients: where the client comes from.
        namespace: prefix of the names.
        queues: what to declare.
        fix: mend fields that differ.
        only_print: change nothing, only tell.

    Raises:
        PubSubError: Pub/Sub is away or refused.
    """
    project = clients.config.project_id
    for queue in queues:
        topic = names.topic_path(project, names.topic_id(namespace, queue.queue_name))
        yield _declare_topic(clients, topic, only_print=only_print)
        wanted = _wanted(queue, topic, project, namespace)
        yield from _declare_subscription(clients, wanted, fix=fix and not only_print, only_print=only_print)


def _declare_topic(clients: Clients, topic: str, *, only_print: bool) -> Finding:
    try:
        with translated(f"look up {topic}"):
            publisher = clients.publisher()
            publisher.get_topic(topic=topic, **bounded(_PATIENCE))
    except PubSubMissing:
        if only_print:
            return Finding(resource=topic, action="missing")
        with translated(f"create {topic}"):
            _unless_it_exists(lambda: publisher.create_topic(name=topic, **bounded(_PATIENCE)))
        return Finding(resource=topic, action="created")
    return Finding(resource=topic, action="present")


def _declare_subscription(clients: Clients, wanted: Any, *, fix: bool, only_print: bool) -> Iterator[Finding]:
    try:
        with translated(f"look up {wanted.name}"):
            subscriber = clients.subscriber()
            have = subscriber.get_subscription(subscription=wanted.name, **bounded(_PATIENCE))
    except PubSubMissing:
        if not only_print:
            with translated(f"create {wanted.name}"):
                _unless_it_exists(
                    lambda: subscriber.create_subscription(request=wanted, **bounded(_PATIENCE))
                )
        yield Finding(resource=wanted.name, action="missing" if only_print else "created")
        return
    drift = dict(_drift(have, wanted))
    if fix and drift:
        request = {"subscription": wanted, "update_mask": {"paths": list(drift)}}
        with translated(f"update {wanted.name}"):
            subscriber.update_subscription(request=request, **bounded(_PATIENCE))
    if not drift:
        yield Finding(resource=wanted.name, action="present")
    for field, (found, want) in drift.items():
        yield Finding(
            resource=wanted.name, action="fixed" if fix else "drifted", field=field, have=found, want=want
        )


def _wanted(queue: AnyQueue, topic: str, project: str, namespace: str) -> Any:
    from google.protobuf.duration_pb2 import Duration
    from google.pubsub_v1 import types

    is_push = isinstance(queue, PushQueue)
    subscription = names.subscription_id(namespace, queue.queue_name, queue.subscription_name)
    return types.Subscription(
        name=names.subscription_path(project, subscription),
        topic=topic,
        ack_deadline_seconds=_PUSH_DEADLINE if is_push else _PULL_DEADLINE,
        push_config=types.PushConfig(
            push_endpoint=queue.push_endpoint if isinstance(queue, PushQueue) else ""
        ),
        retry_policy=types.RetryPolicy(
            minimum_backoff=Duration(seconds=_BACKOFF[0]), maximum_backoff=Duration(seconds=_BACKOFF[1])
        ),
        # An empty policy: the subscription never expires. Without one it is deleted after 31 idle days.
        expiration_policy=types.ExpirationPolicy(),
    )


def _drift(have: Any, want: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    """Fields that differ, as text, by their name in an update mask."""
    for field, read in {
        "push_config": lambda sub: sub.push_config.push_endpoint or "none (pull)",
        "ack_deadline_seconds": lambda sub: f"{sub.ack_deadline_seconds} s",
        "retry_policy": _backoff_text,
        "expiration_policy": _expiration_text,
    }.items():
        if (found := read(have)) != (wanted := read(want)):
            yield field, (found, wanted)


def _backoff_text(subscription: Any) -> str:
    if "retry_policy" not in subscription:
        return "none (at once)"
    policy = subscription.retry_policy
    return f"{policy.minimum_backoff.total_seconds():g}–{policy.maximum_backoff.total_seconds():g} s"


def _expiration_text(subscription: Any) -> str:
    if "expiration_policy" not in subscription:
        return "after 31 idle days"
    ttl = subscription.expiration_policy.ttl
    return f"after {ttl.days} idle days" if ttl else "never"


def _unless_it_exists(create: Any) -> None:
    from google.api_core.exceptions import AlreadyExists

    try:
        create()
    except AlreadyExists:
        return  # several services start at once and declare the same things
