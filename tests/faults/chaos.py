"""Workers that are killed at random, again and again; the same seed draws the same victims and moments."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from oracle import Oracle

import processes
from waiting import wait_until

SEED = "CHAOS_SEED"


def any_seed() -> int:
    """The one that ``CHAOS_SEED`` names, or a new one."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(1_000_000))


@contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Dice; whatever goes wrong inside says how they fell."""
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"seed {seed}: {SEED}={seed} throws the same dice again")
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    pid: int
    at: datetime


class Chaos:
    """Some workers of one queue, kept at their number whoever dies.

    Attributes:
        kills: those who died so far.
    """

    def __init__(
        self, services: processes.Stack, dice: random.Random, *, worker_count: int, concurrency: int
    ) -> None:
        self.kills: list[Kill] = []
        self._services, self._dice, self._concurrency = services, dice, concurrency
        self._workers = [self._start() for _ in range(worker_count)]

    @property
    def most_lost(self) -> int:
        """The tries that the killed may have been running, at most."""
        return len(self.kills) * self._concurrency

    def kill_during(self, oracle: Oracle, last_line: int, count: int, patience: float) -> None:
        """Kill and replace so many, each when the oracle has come to a random line, at most the last one.

        Lines and not moments: so that there is work to be hit, however fast or slow the machine is.
        """
        for place in sorted(self._dice.randint(1, last_line) for _ in range(count)):
            wait_until(lambda place=place: oracle.count() >= place, patience)  # type: ignore[misc]
            self._kill_one(oracle)

    def _kill_one(self, oracle: Oracle) -> None:
        """One that has begun to work, if there is any: most of a short life is its start."""
        at_work = [worker for worker in self._workers if worker.pid in oracle.pids]
        victim = self._dice.choice(at_work or self._workers)
        index = self._workers.index(victim)
        victim.kill()
        self.kills.append(Kill(pid=victim.pid, at=datetime.now(UTC)))
        self._workers[index] = self._start()

    def _start(self) -> processes.Process:
        return self._services.start("i3tasks_worker", "--queue=heavy", f"--concurrency={self._concurrency}")
