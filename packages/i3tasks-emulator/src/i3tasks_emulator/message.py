"""A message: what a publisher may send, and what one subscription knows about it."""

from collections.abc import Sequence

from i3tasks_emulator.errors import invalid
from i3tasks_emulator.wire import Proto

MAX_MESSAGES = 1_000
MAX_REQUEST_BYTES = 10_000_000
MAX_ATTRIBUTES = 100
MAX_KEY_BYTES = 256
MAX_VALUE_BYTES = 1_024


class Delivery:
    """One message as one subscription sees it: each subscription counts its own attempts."""

    __slots__ = ("attempts", "message", "size")

    def __init__(self, message: Proto, size: int) -> None:
        self.message = message
        self.size = size
        self.attempts = 0


def check_messages(messages: Sequence[Proto], request_bytes: int) -> None:
    """Raise INVALID_ARGUMENT for messages that the service would refuse in one request of that size."""
    if not messages:
        raise invalid("No messages to publish")
    if len(messages) > MAX_MESSAGES:
        raise invalid(f"Too many messages to publish: {len(messages)}, the limit is {MAX_MESSAGES}")
    if request_bytes > MAX_REQUEST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.")
    for message in messages:
        if attributes := message.attributes:
            _check_attributes(attributes)
        elif not message.data:
            raise invalid("Some messages are empty")


def _check_attributes(attributes: Proto) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid(f"Too many attributes in a message: {len(attributes)}, the limit is {MAX_ATTRIBUTES}")
    for key in attributes:
        if not key or key.startswith("goog"):
            raise invalid(f"Invalid attribute key (key={key})")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise invalid(f"An attribute key is longer than {MAX_KEY_BYTES} bytes (key={key[:32]}…)")
        if len(attributes[key].encode()) > MAX_VALUE_BYTES:
            raise invalid(f"The value of an attribute is longer than {MAX_VALUE_BYTES} bytes (key={key})")
