"""When a failed try is followed by another one, and after how long. Pure: the caller brings the dice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from i3tasks_core.errors import LONGEST_DELAY

Dice = Callable[[float, float], float]
"""Draws a number between two bounds, as ``random.uniform`` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter: after try *n* a delay drawn from 0 … min(maximum, base · 2ⁿ⁻¹).

    Full jitter spreads a herd best:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        base: upper bound of the first delay.
        maximum: upper bound of every delay.
        retry_for: only these exceptions are followed by another try.
        no_retry_for: these never are; wins over ``retry_for``.

    Raises:
        ValueError: ``base`` is not positive or exceeds ``maximum``, or ``maximum`` exceeds ten years.
        TypeError: not a timedelta, or not a tuple of exception classes.
    """

    base: timedelta = timedelta(seconds=5)
    maximum: timedelta = timedelta(minutes=10)
    retry_for: tuple[type[BaseException], ...] = (BaseException,)
    no_retry_for: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("base", "maximum"):
            if not isinstance(given := getattr(self, name), timedelta):
                raise TypeError(f"RetryPolicy({name}={given!r}): write a timedelta")
        for name in ("retry_for", "no_retry_for"):
            if not _are_exceptions(given := getattr(self, name)):
                raise TypeError(f"RetryPolicy({name}={given!r}): write a tuple of exception classes")
        if not timedelta(0) < self.base <= self.maximum <= LONGEST_DELAY:
            raise ValueError(
                f"RetryPolicy(base={self.base!r}, maximum={self.maximum!r}): "
                f"base must be positive and not above maximum, maximum at most {LONGEST_DELAY.days} days"
            )

    def repeats(self, error: BaseException) -> bool:
        """Whether this exception deserves another try at all."""
        return isinstance(error, self.retry_for) and not isinstance(error, self.no_retry_for)

    def delay(self, try_number: int, dice: Dice = random.uniform) -> timedelta:
        """How long to wait after try ``try_number`` (counted from 1)."""
        # The exponent is bounded because 2.0 ** 1024 overflows and a task may ask for many retries.
        bound = min(self.maximum.total_seconds(), self.base.total_seconds() * 2.0 ** min(try_number - 1, 64))
        return timedelta(seconds=dice(0.0, bound))


def _are_exceptions(given: Any) -> bool:
    return isinstance(given, tuple) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in given
    )
