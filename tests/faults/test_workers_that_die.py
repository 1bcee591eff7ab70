"""Pull workers killed at random while they book: nothing is lost, and every entry stands once."""

from __future__ import annotations

import random
from dataclasses import dataclass

import ledger
import pytest
from chaos import Chaos, long, quick, seeded
from django.db import connection
from figures import Figures, figures
from load import DRAIN, Load
from oracle import Oracle
from sqlite_file import check_integrity

from processes import Stack, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is called and how many die.

    Attributes:
        patience: seconds that all the calls may take.
    """

    groups: int
    members: int
    workers: int
    concurrency: int
    kills: int
    patience: float


QUICK = Scale(groups=12, members=20, workers=2, concurrency=4, kills=3, patience=60)
LONG = Scale(groups=500, members=20, workers=4, concurrency=8, kills=50, patience=900)


@pytest.mark.parametrize(("scale", "seed"), [*quick(QUICK), *long(LONG, timeout=1_200)])
@pytest.mark.usefixtures("entries")
def test_every_entry_stands_once_whoever_is_killed(scale, seed, services, oracle):
    with seeded(seed) as dice:
        print(book_under_kills(scale, dice, services, oracle))


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
    "services_at_defaults",
    [
        pytest.param(("postgres", "google"), id="postgresql-google", marks=pytest.mark.google),
        pytest.param(("postgres", "embedded"), id="postgresql-embedded"),
        pytest.param(("sqlite", "embedded"), id="sqlite-embedded"),
    ],
    indirect=True,
)
def test_at_default_settings_a_killed_worker_costs_a_minute_and_a_half_at_most(services_at_defaults, oracle):
    """The headline of docs/faults.md."""
    with seeded(None) as dice, ledger.ledger():
        found = book_under_kills(LONG, dice, services_at_defaults, oracle)
        print(found)
        assert found.p99 <= 75
        assert found.most <= 90


def book_under_kills(scale: Scale, dice: random.Random, services: Stack, oracle: Oracle) -> Figures:
    chaos = Chaos(services, dice, worker_count=scale.workers, concurrency=scale.concurrency)
    for _ in range(2):
        services.start("i3tasks_beat", PORT="0")
    load = Load(oracle, members=scale.members)
    with load.running(scale.groups, scale.patience):
        last_line = scale.groups * load.lines_each * 9 // 10
        chaos.kill_during(oracle, last_line, scale.kills, scale.patience)
    wait_until(load.has_ended, DRAIN, "everything ends")

    runs = oracle.read()
    rows = load.check(runs, most_lost=chaos.most_lost)
    check_integrity(connection)
    found = figures(rows, runs, chaos.kills)
    assert found.recoveries, "nobody who was killed held anything"
    return found
