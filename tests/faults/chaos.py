"""Workers that are killed at random, again and again; the same seed draws the same victims and moments."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from oracle import Oracle

import processes
from waiting import wait_until

SEED = "CHAOS_SEED"
FIXED_SEEDS = (1, 2, 3)


def any_seed() -> int:
    """The one that ``CHAOS_SEED`` names, or a new one."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(1_000_000))


def quick(scale: Any) -> list[Any]:
    """For the normal suite, with a new seed: parameters ``scale, seed``."""
    return [pytest.param(scale, None, id="quick")]


def long(scale: Any, timeout: float) -> list[Any]:
    """At full scale, with three fixed seeds and a new one; each may take so many seconds."""
    marks = [pytest.mark.chaos, pytest.mark.timeout(timeout)]
    fixed = [pytest.param(scale, seed, id=f"long-{seed}", marks=marks) for seed in FIXED_SEEDS]
    return [*fixed, pytest.param(scale, None, id="long-new", marks=marks)]


@contextmanager
def seeded(seed: int | None) -> Iterator[random.Random]:
    """Dice, with a new seed where none is given; whatever goes wrong inside says how they fell."""
    chosen = any_seed() if seed is None else seed
    try:
        yield random.Random(chosen)
    except BaseException as error:
        error.add_note(f"seed {chosen}: {SEED}={chosen} throws the same dice again")
        raise


def moments(
    oracle: Oracle, dice: random.Random, last_line: int, count: int, patience: float
) -> Iterator[int]:
    """So many times to strike, each when the oracle has come to a random line, at most the last one.

    Lines and not moments: so that there is work to be hit, however fast or slow the machine is.
    """
    for place in sorted(dice.randint(1, last_line) for _ in range(count)):
        wait_until(lambda place=place: oracle.count() >= place, patience)  # type: ignore[misc]
        yield place


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    pid: int
    at: datetime


def kill_of(pid: int) -> Kill:
    """One that happens now."""
    return Kill(pid=pid, at=datetime.now(UTC))


class Chaos:
    """Some workers of one queue, kept at their number whoever dies.

    Attributes:
        kills: those who died so far.
        workers: those who live.
    """

    def __init__(
        self, services: processes.Stack, dice: random.Random, *, worker_count: int, concurrency: int
    ) -> None:
        self.kills: list[Kill] = []
        self._services, self._dice, self._concurrency = services, dice, concurrency
        self.workers = [self._start() for _ in range(worker_count)]

    @property
    def most_lost(self) -> int:
        """The tries that the killed may have been running, at most."""
        return len(self.kills) * self._concurrency

    def kill_during(self, oracle: Oracle, last_line: int, count: int, patience: float) -> None:
        """Kill and replace so many, see ``moments``."""
        for _ in moments(oracle, self._dice, last_line, count, patience):
            self._kill_one(oracle)

    def roll(self, patience: float) -> None:
        """Replace each by SIGTERM, one after the other, as a deploy does."""
        for index, worker in enumerate(self.workers):
            successor = self._start()
            successor.says("service_started", patience)
            worker.terminate(patience)
            self.workers[index] = successor

    def _kill_one(self, oracle: Oracle) -> None:
        """One that has begun to work, if there is any: most of a short life is its start."""
        at_work = [worker for worker in self.workers if worker.pid in oracle.pids]
        victim = self._dice.choice(at_work or self.workers)
        index = self.workers.index(victim)
        victim.kill()
        self.kills.append(kill_of(victim.pid))
        self.workers[index] = self._start()

    def _start(self) -> processes.Process:
        return self._services.start("i3tasks_worker", "--queue=heavy", f"--concurrency={self._concurrency}")
