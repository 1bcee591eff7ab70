"""The body of a push request: the service's wrapped format."""

import base64
import json
from typing import Any

from i3tasks_emulator.message import Delivery
from i3tasks_emulator.subscription import Subscription


def push_envelope(delivery: Delivery, subscription: Subscription) -> bytes:
    """JSON with ids and times under both spellings, camelCase and snake_case, as the service sends them."""
    message = delivery.message
    published_at = message.publish_time.ToJsonString()
    inner: dict[str, Any] = {
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published_at,
        "publish_time": published_at,
    }
    if message.data:
        inner["data"] = base64.b64encode(message.data).decode()
    if message.attributes:
        inner["attributes"] = dict(message.attributes)
    if message.ordering_key:
        inner["orderingKey"] = message.ordering_key
    envelope: dict[str, Any] = {"message": inner, "subscription": subscription.name}
    if subscription.has_dead_letters:
        envelope["deliveryAttempt"] = delivery.attempts
    return json.dumps(envelope).encode()
