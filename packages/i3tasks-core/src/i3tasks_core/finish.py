"""A claimed try that was run: what is left is to write its end."""

from __future__ import annotations

from dataclasses import dataclass

from i3tasks_core.claim import Claim
from i3tasks_core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Finish:
    """How a try ended.

    Attributes:
        seconds: how long it ran.
    """

    claim: Claim
    outcome: Outcome
    seconds: float = 0.0
