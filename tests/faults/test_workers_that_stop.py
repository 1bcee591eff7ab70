"""Workers that are stopped for longer than their lease and go on: what they finish is not theirs any more."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import invariants
import pytest
from chaos import long, quick, seeded
from django.db import connection
from figures import figures
from oracle import Oracle
from sqlite_file import check_integrity

from conftest import LEASE
from i3tasks_django.models import TaskExecution
from processes import Process, wait_until
from project.fault_tasks import child_of, leave_a_trace, work_and_call, work_slowly

SECONDS = 0.4
"""What a task takes; its worker is stopped somewhere in it."""

CALLS = 6
"""Tasks that are called at a time: more than one worker runs."""

PATIENCE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How often a worker is stopped."""

    stops: int


@pytest.mark.parametrize(("scale", "seed"), [*quick(Scale(stops=1)), *long(Scale(stops=20), timeout=900)])
def test_what_a_stopped_worker_finishes_later_is_refused(scale, seed, services, oracle):
    with seeded(seed) as dice:
        workers = [services.start("i3tasks_worker", "--queue=heavy", "--concurrency=4") for _ in range(2)]
        for worker in (*workers, services.beat()):
            worker.says("service_started")
        for number in range(scale.stops):
            begun = oracle.count()
            call_some(number, oracle)
            wait_until(lambda begun=begun: oracle.count() > begun, PATIENCE, "something begins")
            stop_for_two_leases(busy_one(workers, oracle), dice)
            wait_until(
                lambda: has_ended() and not oracle.read().broken_off_count, PATIENCE, "everything ends"
            )

        rows, runs = invariants.Rows(), oracle.read()
        invariants.check(rows, runs, most_lost=0)
        assert Counter(row.task_args[1] for row in rows.executions.values()) == Counter(
            label for number in range(scale.stops) for label in what_was_called(number, rows)
        )
        check_integrity(connection)
        refused = wait_until(lambda: count_refused(workers), PATIENCE, "an end is refused")
        print(f"{scale.stops} stops of {2 * LEASE:g} s, {refused} ends refused; {figures(rows, runs, [])}")


def call_some(number: int, oracle: Oracle) -> None:
    """Of both kinds, each with a step that follows."""
    for label in labels(number):
        work = (work_and_call if is_atomic(label) else work_slowly).s(str(oracle.path), label, SECONDS)
        work.then(leave_a_trace, str(oracle.path), f"{label}-step").delay()


def labels(number: int) -> Iterator[str]:
    """On SQLite one transaction that is stopped keeps everybody waiting, and nobody could take its try over:
    every other time there is none."""
    for index in range(CALLS):
        kind = "atomic" if index % 2 and (connection.vendor != "sqlite" or number % 2) else "plain"
        yield f"{kind}-{number}-{index}"


def is_atomic(label: str) -> bool:
    return label.startswith("atomic")


def busy_one(workers: list[Process], oracle: Oracle) -> Process:
    """The one that began last."""
    last = oracle.read().starts[-1].pid
    return next(worker for worker in workers if worker.pid == last)


def stop_for_two_leases(worker: Process, dice: random.Random) -> None:
    time.sleep(dice.uniform(0, SECONDS))  # where in a task it is hit is what is tried out
    worker.signal(signal.SIGSTOP)
    time.sleep(2 * LEASE)  # for that long, whatever happens meanwhile: this is the fault itself
    worker.signal(signal.SIGCONT)


def what_was_called(number: int, rows: invariants.Rows) -> Iterator[str]:
    """Once each; of the calls that a task makes itself those of the try that succeeded, and of no other."""
    found = {row.task_args[1]: row for row in rows.executions.values()}
    for label in labels(number):
        yield from (label, f"{label}-step")
        if is_atomic(label):
            yield child_of(label, rows.last_try(found[label]).try_number)


def count_refused(workers: list[Process]) -> int:
    return sum(worker.output.count('"try_stale"') for worker in workers)


def has_ended() -> bool:
    return not TaskExecution.objects.filter(state="pending").exists()
