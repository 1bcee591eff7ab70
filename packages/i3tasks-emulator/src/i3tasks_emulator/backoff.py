"""How long a message rests before it goes out again."""

from dataclasses import dataclass
from typing import Self

from i3tasks_emulator.wire import Proto, seconds

# 0.1 s doubled 30 times is three years: enough for any maximum, and no overflow for a very stubborn message.
_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Doubles from the minimum to the maximum with every delivery attempt."""

    minimum_seconds: float
    maximum_seconds: float

    @classmethod
    def of_policy(cls, policy: Proto) -> Self:
        """From a checked RetryPolicy, where both bounds are set."""
        return cls(
            minimum_seconds=seconds(policy.minimum_backoff), maximum_seconds=seconds(policy.maximum_backoff)
        )

    def delay(self, attempts: int) -> float:
        """Seconds to rest after `attempts` deliveries, the first counting as 1."""
        doublings = min(max(attempts - 1, 0), _MAX_DOUBLINGS)
        return min(self.maximum_seconds, self.minimum_seconds * 2.0**doublings)


AT_ONCE = Backoff(minimum_seconds=0.0, maximum_seconds=0.0)
"""Without a retry policy a refused or expired message is ready again at once."""

AFTER_FAILED_PUSH = Backoff(minimum_seconds=0.1, maximum_seconds=60.0)
"""Without a retry policy a failed push still backs off: the endpoint is probably down."""
