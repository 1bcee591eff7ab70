"""All workers replaced by SIGTERM again and again under load, as deploys do: no try is lost or waits long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest
from chaos import Chaos, long, quick, seeded
from django.db import connection
from figures import figures, spread
from invariants import Rows
from load import DRAIN, Load
from sqlite_file import check_integrity

from processes import Process, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many workers there are, and how often each is replaced.

    Attributes:
        is_punctual: whether the two seconds are asked for; a busy test run is no place for them.
    """

    workers: int
    rounds: int
    is_punctual: bool


QUICK = Scale(workers=1, rounds=1, is_punctual=False)
LONG = Scale(workers=3, rounds=20, is_punctual=True)
PATIENCE = 60


@pytest.mark.parametrize(("scale", "seed"), [*quick(QUICK), *long(LONG, timeout=900)])
@pytest.mark.usefixtures("entries")
def test_a_deploy_loses_no_try_and_nothing_waits_for_a_lease(scale, seed, services, oracle):
    services.environment["TEST_LEASE_SECONDS"] = "60"  # what waited for one would be seen
    with seeded(seed) as dice:
        chaos = Chaos(services, dice, worker_count=scale.workers, concurrency=4)
        services.beat()
        load, gone = Load(oracle, members=20), []
        wait_until(lambda: all("service_started" in worker.output for worker in chaos.workers), PATIENCE)
        with load.running(None, PATIENCE):
            for _ in range(scale.rounds):
                begun = oracle.count()
                wait_until(lambda begun=begun: oracle.count() > begun, PATIENCE, "there is load")
                gone += chaos.workers
                chaos.roll(PATIENCE)
        wait_until(load.has_ended, DRAIN, "everything ends")

        runs = oracle.read()
        rows = load.check(runs, most_lost=0)
        check_integrity(connection)
        states = {attempt.state for attempts in rows.tries.values() for attempt in attempts}
        assert states == {"success"}, "a try was lost by a worker that was asked to stop"
        assert len(runs.starts) == len(runs.first_start), "something ran twice"
        waits = list(waits_of_the_released(rows, gone))
        print(
            f"{len(gone)} workers replaced; {figures(rows, runs, [])}; "
            f"{len(waits)} tries handed back, begun again after {spread(waits)}"
        )
        # What was handed back stands in line like all the others.
        assert not scale.is_punctual or max(waits, default=0) <= 2 + longest_line(rows)


def longest_line(rows: Rows) -> float:
    """Seconds that one try in a hundred waited for a worker, whoever it was."""
    waits = sorted(
        (a.started_at - a.asked_at).total_seconds() for attempts in rows.tries.values() for a in attempts
    )
    return waits[len(waits) * 99 // 100]


def waits_of_the_released(rows: Rows, gone: list[Process]) -> Iterator[float]:
    """Seconds from the moment a worker handed a try back until it began elsewhere."""
    started = {a.pk: a.started_at for attempts in rows.tries.values() for a in attempts}
    last: dict[int, datetime] = {}
    for said in (json.loads(line) for worker in gone for line in worker.output.splitlines()):
        if said["message"] == "try_released":
            at, try_id = datetime.fromisoformat(said["time"]), int(said["try_id"])
            last[try_id] = max(at, last.get(try_id, at))
    return ((started[try_id] - at).total_seconds() for try_id, at in last.items())
