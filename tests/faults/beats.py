"""Beats that are killed at random moments, one or all of them, and started again."""

from __future__ import annotations

import random
import time
from datetime import datetime

import processes
from i3tasks_django.store import database_now


class Beats:
    """Some real beats, kept at their number whoever dies.

    Attributes:
        kill_count: how many died so far.
        back_at: since when there is a beat again, for each time that all of them were killed.
    """

    def __init__(self, services: processes.Stack, dice: random.Random, count: int) -> None:
        self.kill_count = 0
        self.back_at: list[datetime] = []
        self._services, self._dice = services, dice
        self._beats = [self._start() for _ in range(count)]
        self._wait_for(count)

    def kill_some(self) -> None:
        """Kill any but not all of them at once, and go on when their successors are there."""
        self._replace(self._dice.sample(self._beats, self._dice.randrange(1, len(self._beats))))
        self._wait_for(len(self._beats))

    def kill_all(self) -> None:
        """Kill all of them at once, and go on when the first successor is there."""
        self._replace(self._beats)
        self._wait_for(1)
        self.back_at.append(database_now())

    def let_them_work(self, most: float) -> None:
        """For a part of so many seconds: where in its pass a beat is hit is what is tried out."""
        time.sleep(self._dice.uniform(0, most))

    def end(self) -> None:
        """Kill them for good."""
        for beat in self._beats:
            beat.kill()

    def _replace(self, victims: list[processes.Process]) -> None:
        for victim in victims:
            victim.kill()
        self.kill_count += len(victims)
        self._beats = [self._start() if beat in victims else beat for beat in self._beats]

    def _wait_for(self, count: int) -> None:
        def are_there() -> bool:
            return sum("service_started" in beat.output for beat in self._beats) >= count

        processes.wait_until(are_there, 30, f"{count} beats are up")

    def _start(self) -> processes.Process:
        return self._services.start("i3tasks_beat", PORT="0")
