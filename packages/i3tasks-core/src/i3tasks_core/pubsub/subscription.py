"""A queue's subscription: what it should be, and where one that exists differs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from i3tasks_core import names
from i3tasks_core.config import OIDC, AnyQueue, PushQueue

_PUSH_DEADLINE = 600  # a push is answered when the task is done
_PULL_DEADLINE = 60  # a pull is acknowledged as soon as it is claimed
_BACKOFF = (10, 600)

_ATTEMPTS = 20
"""Deliveries before a message is a dead letter: with the pauses above more than two hours, so that an outage
makes few. What becomes one all the same is no loss: the relay rings again."""

_NONE = "none"
_OIDC = "push_config.oidc_token"
_RECREATE = "cannot be changed: delete the subscription and run this again; no task is lost by it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A field that differs.

    Attributes:
        field: its name in Pub/Sub's API.
        have: what it is, as text.
        want: what it should be.
        path: what an update that mends it has to name; empty where none can.
        remedy: what to do about it by hand, where no update can mend it.
    """

    field: str
    have: str
    want: str
    path: str = ""
    remedy: str = ""


def wanted(queue: AnyQueue, project: str, namespace: str, push_auth: OIDC | None) -> Any:
    """The subscription that the queue should have, a ``google.pubsub_v1.types.Subscription``.

    Args:
        queue: its names and its dead letters' topic are taken from here.
        project: the Google Cloud project of all of it.
        namespace: prefix of the names.
        push_auth: the token that pushes carry.
    """
    from google.protobuf.duration_pb2 import Duration
    from google.pubsub_v1 import types

    subscription = names.subscription_id(namespace, queue.queue_name, queue.subscription_name)
    return types.Subscription(
        name=names.subscription_path(project, subscription),
        topic=names.topic_path(project, names.topic_id(namespace, queue.queue_name)),
        ack_deadline_seconds=_PUSH_DEADLINE if isinstance(queue, PushQueue) else _PULL_DEADLINE,
        push_config=_push_config(queue, push_auth),
        retry_policy=types.RetryPolicy(
            minimum_backoff=Duration(seconds=_BACKOFF[0]), maximum_backoff=Duration(seconds=_BACKOFF[1])
        ),
        # An empty policy: the subscription never expires. Without one it is deleted after 31 idle days.
        expiration_policy=types.ExpirationPolicy(),
        dead_letter_policy=_dead_letter_policy(queue, project),
    )


def drifts(have: Any, want: Any) -> list[Drift]:
    """Where the subscription differs from the one that is wanted, what nothing can mend first.

    A token that no setting asks for stays: it is what a private Cloud Run service lets Pub/Sub in by.
    """
    return [*_final(have, want), *_changeable(have, want)]


def mended(have: Any, want: Any, paths: Collection[str]) -> Any:
    """What to write to the fields of these names; what belongs to others, as a label does, is not in it."""
    from google.pubsub_v1 import types

    made = types.Subscription(name=want.name)
    for path in paths:
        if path in want:
            setattr(made, path, getattr(want, path))
    if "push_config" in paths and want.push_config.push_endpoint:
        made.push_config.attributes = have.push_config.attributes
        if _has_token(have) and not _has_token(want):
            made.push_config.oidc_token = have.push_config.oidc_token
    return made


def _push_config(queue: AnyQueue, push_auth: OIDC | None) -> Any:
    from google.pubsub_v1 import types

    if not isinstance(queue, PushQueue):
        return types.PushConfig()
    config = types.PushConfig(push_endpoint=queue.push_endpoint)
    if push_auth is not None:
        config.oidc_token = types.PushConfig.OidcToken(
            audience=push_auth.audience, service_account_email=push_auth.service_account_email
        )
    return config


def _dead_letter_policy(queue: AnyQueue, project: str) -> Any:
    from google.pubsub_v1 import types

    if queue.dead_letter_topic is None:
        return None
    return types.DeadLetterPolicy(
        dead_letter_topic=names.topic_path(project, queue.dead_letter_topic), max_delivery_attempts=_ATTEMPTS
    )


def _final(have: Any, want: Any) -> Iterator[Drift]:
    """What Pub/Sub lets nobody change."""
    for field, found, needed in (
        ("topic", have.topic, want.topic),
        ("filter", have.filter or _NONE, _NONE),  # it swallows what it does not match
        ("detached", str(have.detached), str(False)),
    ):
        if found != needed:
            yield Drift(field=field, have=found, want=needed, remedy=_RECREATE)


def _changeable(have: Any, want: Any) -> Iterator[Drift]:
    for field, read in _FIELDS.items():
        if field.startswith(_OIDC) and not _has_token(want):
            continue
        if (found := read(have)) != (needed := read(want)):
            yield Drift(field=field, have=found, want=needed, path=field.partition(".")[0])


def _endpoint(subscription: Any) -> str:
    return subscription.push_config.push_endpoint or "none (pull)"


def _has_token(subscription: Any) -> bool:
    return "oidc_token" in subscription.push_config


def _audience(subscription: Any) -> str:
    return subscription.push_config.oidc_token.audience or _NONE


def _account(subscription: Any) -> str:
    return subscription.push_config.oidc_token.service_account_email or _NONE


def _wrapper(subscription: Any) -> str:
    return "none" if "no_wrapper" in subscription.push_config else "as usual"


def _deadline(subscription: Any) -> str:
    return f"{subscription.ack_deadline_seconds} s"


def _backoff(subscription: Any) -> str:
    if "retry_policy" not in subscription:
        return "none (at once)"
    policy = subscription.retry_policy
    return f"{policy.minimum_backoff.total_seconds():g}–{policy.maximum_backoff.total_seconds():g} s"


def _expiration(subscription: Any) -> str:
    if "expiration_policy" not in subscription:
        return "after 31 idle days"
    ttl = subscription.expiration_policy.ttl
    return f"after {ttl.days} idle days" if ttl else "never"


def _dead_letters(subscription: Any) -> str:
    if "dead_letter_policy" not in subscription:
        return _NONE
    policy = subscription.dead_letter_policy
    return f"{policy.dead_letter_topic} after {policy.max_delivery_attempts} attempts"


def _present(field: str) -> Callable[[Any], str]:
    """Whether the subscription has it at all; an older client library does not know the newest of them."""
    return lambda subscription: "set" if getattr(subscription, field, None) else _NONE


_FIELDS: dict[str, Callable[[Any], str]] = {
    "push_config.push_endpoint": _endpoint,
    f"{_OIDC}.audience": _audience,
    f"{_OIDC}.service_account_email": _account,
    "push_config.wrapper": _wrapper,
    "ack_deadline_seconds": _deadline,
    "retry_policy": _backoff,
    "expiration_policy": _expiration,
    "dead_letter_policy": _dead_letters,
    # Exports deliver to a table instead of us, and a transform breaks the signature.
    **{
        field: _present(field)
        for field in ("bigquery_config", "cloud_storage_config", "bigtable_config", "message_transforms")
    },
}
