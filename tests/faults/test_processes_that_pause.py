"""Any processes, several at a time, stopped for a while and continued: late is not lost."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from chaos import kill_of, long, moments, seeded
from django.db import connection
from figures import figures
from load import DRAIN, Load
from sqlite_file import check_integrity

from processes import Process, children_of, send, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    groups: int
    members: int
    stops: int
    patience: float


LONG = Scale(groups=250, members=20, stops=20, patience=600)
PAUSE = (0.1, 10.0)
"""Seconds a process is stopped for."""


@pytest.mark.parametrize(("scale", "seed"), long(LONG, timeout=900))
@pytest.mark.usefixtures("entries")
def test_whoever_is_stopped_for_a_while_costs_nothing(scale, seed, services, oracle):
    with seeded(seed) as dice:
        everybody = [services.worker() for _ in range(3)]
        everybody += [services.receiver(I3TASKS_PROCESSES="2"), services.beat(), services.beat()]
        load = Load(oracle, members=scale.members, queues=("heavy", "default"))
        stops = []
        with load.running(scale.groups, scale.patience), ThreadPoolExecutor(scale.stops) as hands:
            last_line = scale.groups * load.lines_each * 9 // 10
            for _ in moments(oracle, dice, last_line, scale.stops, scale.patience):
                pid = any_of(everybody, dice)
                stops.append(kill_of(pid))
                hands.submit(pause, pid, dice.uniform(*PAUSE))
        wait_until(load.has_ended, DRAIN, "everything ends")

        runs = oracle.read()
        rows = load.check(runs, most_lost=0)
        check_integrity(connection)
        assert all(process.is_alive() for process in everybody)
        print(f"{scale.stops} stops; {figures(rows, runs, [])}")


def any_of(everybody: list[Process], dice: random.Random) -> int:
    """Of the receiver its main process or one of those that serve."""
    pids = [pid for process in everybody for pid in (process.pid, *children_of(process.pid))]
    return dice.choice(pids)


def pause(pid: int, seconds: float) -> None:
    send(pid, signal.SIGSTOP)
    time.sleep(seconds)  # this is the fault itself
    send(pid, signal.SIGCONT)
