"""Receivers killed at random, now a process that serves, now gunicorn's main one: nothing is lost."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass

import pytest
from chaos import Kill, kill_of, long, moments, seeded
from django.db import connection
from figures import figures
from load import DRAIN, Load
from sqlite_file import check_integrity

from processes import Process, Stack, children_of, get, send, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    groups: int
    members: int
    worker_kills: int
    master_kills: int
    patience: float


LONG = Scale(groups=500, members=20, worker_kills=40, master_kills=10, patience=900)
PROCESSES, THREADS = 2, 16


@pytest.mark.parametrize(("scale", "seed"), long(LONG, timeout=1_200))
@pytest.mark.usefixtures("entries")
def test_every_entry_stands_once_whichever_process_of_gunicorn_is_killed(scale, seed, services, oracle):
    with seeded(seed) as dice:
        receivers = Receivers(services, dice)
        for _ in range(2):
            services.beat()
        load = Load(oracle, members=scale.members, queues=("default",))
        count = scale.worker_kills + scale.master_kills
        masters = set(dice.sample(range(count), scale.master_kills))
        with load.running(scale.groups, scale.patience):
            last_line = scale.groups * load.lines_each * 9 // 10
            for number, _ in enumerate(moments(oracle, dice, last_line, count, scale.patience)):
                receivers.kill_master() if number in masters else receivers.kill_worker()
        wait_until(load.has_ended, DRAIN, "everything ends")

        runs = oracle.read()
        rows = load.check(runs, most_lost=count * THREADS)
        check_integrity(connection)
        found = figures(rows, runs, receivers.kills)
        print(f"{scale.master_kills} of the kills hit gunicorn's main process; {found}")
        assert found.recoveries, "nobody who was killed held anything"


class Receivers:
    """One receiver, whose port Pub/Sub knows, and a supervisor that starts it again.

    Attributes:
        kills: those who died so far; the main processes among them run nothing.
    """

    def __init__(self, services: Stack, dice: random.Random) -> None:
        self.kills: list[Kill] = []
        self._services, self._dice = services, dice
        self._receiver = self._start()

    def kill_worker(self) -> None:
        """One that serves; gunicorn replaces it."""
        pids = wait_until(lambda: children_of(self._receiver.pid), 30, "a process serves")
        self._kill(self._dice.choice(pids))

    def kill_master(self) -> None:
        """Those who serve see that they are alone, and end; then the port is free again."""
        self._kill(self._receiver.pid)
        self._receiver.exit_code()
        self._receiver = self._start()

    def _kill(self, pid: int) -> None:
        send(pid, signal.SIGKILL)
        self.kills.append(kill_of(pid))

    def _start(self) -> Process:
        """As a supervisor does: again and again, as long as the port is still taken."""
        return wait_until(self._try_to_start, 60, "a receiver is up")

    def _try_to_start(self) -> Process | None:
        receiver = self._services.start(
            "i3tasks_receiver", PORT=str(self._services.port), I3TASKS_PROCESSES=str(PROCESSES)
        )
        wait_until(lambda: not receiver.is_alive() or self._serves(receiver), 30, "it serves or gives up")
        return receiver if receiver.is_alive() else None

    def _serves(self, receiver: Process) -> bool:
        return bool(children_of(receiver.pid)) and get(self._services.port, "/health/ready")[0] == 200
