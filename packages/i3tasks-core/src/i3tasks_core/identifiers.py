"""Public ids: UUID version 7, so that rows made together lie together in an index."""

from __future__ import annotations

import os
import random
import time
import uuid
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62

_dice = random.Random()  # noqa: S311 - an id is no secret, and the system's own dice cost a call each
os.register_at_fork(after_in_child=_dice.seed)


def uuid7() -> uuid.UUID:
    """A new UUIDv7 (RFC 9562 §5.7): 60 bits of Unix time, 62 random bits.

    The 12 bits after the milliseconds go on with the clock (RFC 9562 §6.2, method 3), so that ids of one
    process sort as they were made: a chain's steps, a group before the groups in it.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    low = _dice.getrandbits(62)
    return uuid.UUID(int=milliseconds << 80 | _VERSION_7 | fraction << 64 | _VARIANT | low)


def uuid7_at(moment: datetime) -> uuid.UUID:
    """The smallest id of that moment: every id made earlier is smaller, every id made later is not.

    Args:
        moment: an aware datetime; 1970 stands in for what is before it.
    """
    microseconds = max(0, (moment - EPOCH) // timedelta(microseconds=1))
    milliseconds, rest = divmod(microseconds, 1_000)
    fraction = (rest << 12) // 1_000
    return uuid.UUID(int=milliseconds << 80 | _VERSION_7 | fraction << 64 | _VARIANT)
