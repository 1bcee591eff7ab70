"""Topic and subscription names."""

from __future__ import annotations

import re

# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
_RESOURCE_ID = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")


def topic_id(namespace: str, queue_name: str) -> str:
    """``{namespace}.{queue_name}``; a dot inside the queue's name would read as another level."""
    return f"{namespace}.{_undotted(queue_name)}"


def subscription_id(namespace: str, queue_name: str, subscription_name: str) -> str:
    return f"{topic_id(namespace, queue_name)}.{_undotted(subscription_name)}"


def topic_path(project_id: str, topic: str) -> str:
    return f"projects/{project_id}/topics/{topic}"


def subscription_path(project_id: str, subscription: str) -> str:
    return f"projects/{project_id}/subscriptions/{subscription}"


def is_resource_id(name: str) -> bool:
    """Whether Pub/Sub takes it: 3–255 characters, a letter first, not ``goog…``."""
    return _RESOURCE_ID.fullmatch(name) is not None


def _undotted(name: str) -> str:
    return name.replace(".", "-")
