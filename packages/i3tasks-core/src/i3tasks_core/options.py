"""The options of a task and of a call: each is checked where it is written, and named when it is wrong."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from i3tasks_core.errors import LONGEST_DELAY
from i3tasks_core.identifiers import EPOCH
from i3tasks_core.retry import RetryPolicy

_MOST_RETRIES = 1_000_000


def flag(name: str, given: Any) -> bool:
    """True or False.

    Raises:
        TypeError: anything else.
    """
    if not isinstance(given, bool):
        raise TypeError(f"{name}={given!r}: write True or False")
    return given


def queue_name(given: Any) -> str:
    """A queue's name; whether there is such a queue is seen at the call.

    Raises:
        TypeError: not a text, or an empty one.
    """
    if not isinstance(given, str) or not given:
        raise TypeError(f"queue_name={given!r}: write the name of a queue of I3TASKS")
    return given


def max_retries(given: Any) -> int | None:
    """Tries after the first; None means the settings' default.

    Raises:
        ValueError: not a whole number, or out of range.
    """
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= _MOST_RETRIES:
        raise ValueError(f"max_retries={given!r}: write a whole number from 0 to {_MOST_RETRIES:,}, or None")
    return given


def retry(given: Any) -> RetryPolicy:
    """A policy.

    Raises:
        TypeError: anything else.
    """
    if not isinstance(given, RetryPolicy):
        raise TypeError(f"retry={given!r}: write RetryPolicy(base=…, maximum=…, retry_for=…, no_retry_for=…)")
    return given


def timeout(given: Any) -> timedelta | None:
    """A positive duration, or None for no limit.

    Raises:
        ValueError: not a positive ``timedelta`` or number of seconds.
    """
    if given is None:
        return None
    duration = _duration(given)
    if duration is None or duration <= timedelta(0):
        raise ValueError(f"timeout={given!r}: write a positive timedelta or number of seconds, or None")
    return duration


def run_after(given: Any) -> datetime | timedelta:
    """An aware moment, or a duration from the call on.

    Raises:
        TypeError: neither a moment nor a duration.
        ValueError: a moment without a time zone, or one that is too far away.
    """
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError(
                f"run_after={given!r} has no time zone: pass an aware datetime such as "
                "django.utils.timezone.now() + timedelta(hours=1), or a timedelta"
            )
        _refuse_distant(given, given - datetime.now(UTC))
        return max(given, EPOCH)  # long past is long past; not every database can tell the year 1
    duration = _duration(given)
    if duration is None:
        raise TypeError(f"run_after={given!r}: write an aware datetime, a timedelta or seconds")
    _refuse_distant(given, duration)
    return max(duration, timedelta(0))


def _refuse_distant(given: Any, distance: timedelta) -> None:
    if distance > LONGEST_DELAY:
        days = LONGEST_DELAY.days
        raise ValueError(f"run_after={given!r} is more than {days:,} days away: call nearer the time")


def _duration(given: Any) -> timedelta | None:
    """The duration that is meant, or None."""
    if isinstance(given, timedelta):
        return given
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return None
    # timedelta itself refuses what is longer, in words that name nothing.
    bound = LONGEST_DELAY.total_seconds() + 1
    return timedelta(seconds=max(-bound, min(given, bound)))
