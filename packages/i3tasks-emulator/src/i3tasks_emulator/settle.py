"""Acks and deadlines as a client sends them: checked, then told to the subscription.

An id that was granted once but has ended is accepted in silence, as the service does without exactly-once
delivery. An id that cannot ever have been granted is INVALID_ARGUMENT.
"""

from collections.abc import Iterable, Sized

from i3tasks_emulator.errors import invalid
from i3tasks_emulator.lease import is_ack_id
from i3tasks_emulator.settings import MAX_ACK_DEADLINE
from i3tasks_emulator.subscription import Subscription


def check_ack_ids(ack_ids: Sized) -> None:
    """A unary request names at least one id; on a stream an empty list is the normal case."""
    if not ack_ids:
        raise invalid("No ack ids specified.")


def acknowledge(subscription: Subscription, ack_ids: Iterable[str]) -> None:
    for ack_id in ack_ids:
        if not subscription.ack(ack_id):
            _check_shape(ack_id)


def modify_ack_deadline(subscription: Subscription, deadlines: Iterable[tuple[str, int]]) -> None:
    """Pairs of an ack id and the seconds from now that its lease shall last, 0 to 600, where 0 means nack."""
    for ack_id, seconds in deadlines:
        if not 0 <= seconds <= MAX_ACK_DEADLINE:
            raise invalid(f"Ack deadline out of bounds: {seconds} is not within 0 and {MAX_ACK_DEADLINE}")
        if not subscription.extend(ack_id, seconds):
            _check_shape(ack_id)


def _check_shape(ack_id: str) -> None:
    if not is_ack_id(ack_id):
        raise invalid(f"Invalid ack id (ack_id={ack_id})")
