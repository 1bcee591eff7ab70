"""PostgreSQL restarted hard, and sessions terminated, under load: no task and no process is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import ledger
import pytest
from chaos import long, moments, quick, seeded
from django.db import connection, connections
from figures import figures, spread
from load import DRAIN, Load

import databases
import postgres
import processes
from i3tasks_core.config import PubSubConfig
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import Runtime
from i3tasks_django.store import database_now
from i3tasks_django.types import PushQueue
from processes import wait_until

AT_ONCE = 10
"""Sessions that are terminated together."""

WORKERS, CONCURRENCY, THREADS = 3, 4, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How often each fault strikes.

    Attributes:
        back: seconds within which the workers are at work again when the database is back.
    """

    groups: int
    members: int
    restarts: int
    terminations: int
    patience: float
    back: float


# A busy test run is no place for the five seconds.
QUICK = Scale(groups=12, members=20, restarts=1, terminations=10, patience=60, back=30)
LONG = Scale(groups=250, members=20, restarts=10, terminations=200, patience=900, back=5)


@pytest.fixture
def server() -> Iterator[postgres.Cluster]:
    """One whose commits are there after a restart; what a power cut takes is not what is tried out."""
    with postgres.cluster(("fsync=off", "full_page_writes=off")) as made:
        yield made


@pytest.fixture
def services(
    server: postgres.Cluster, embedded_pubsub: PubSubConfig, i3tasks: Callable[..., Runtime]
) -> Iterator[processes.Stack]:
    with ExitStack() as exits:
        database = exits.enter_context(databases.postgres_database(server))
        exits.enter_context(databases.current(database))
        made = exits.enter_context(processes.stack(database, lease=3.0))
        exits.enter_context(ledger.ledger())
        i3tasks(default_queue=PushQueue("default", "default", made.push_endpoint))
        assert declare()
        yield made


@pytest.mark.parametrize(("scale", "seed"), [*quick(QUICK), *long(LONG, timeout=1_200)])
def test_a_database_that_dies_costs_no_task_and_no_process(scale, seed, server, services, oracle):
    with seeded(seed) as dice:
        everybody = [
            services.start("i3tasks_worker", "--queue=heavy", f"--concurrency={CONCURRENCY}")
            for _ in range(WORKERS)
        ]
        everybody += [services.receiver(), services.beat()]
        load = Load(oracle, members=scale.members, queues=("heavy", "default"), is_stubborn=True)
        faults = Faults(server, dice)
        strikes = [faults.restart] * scale.restarts + [faults.terminate] * (scale.terminations // AT_ONCE)
        dice.shuffle(strikes)
        with load.running(scale.groups, scale.patience):
            last_line = scale.groups * load.lines_each * 9 // 10
            for number, _ in enumerate(moments(oracle, dice, last_line, len(strikes), scale.patience)):
                strikes[number]()
            while faults.terminated_count < scale.terminations:
                faults.terminate()
        wait_until(load.has_ended, DRAIN, "everything ends")

        runs = oracle.read()
        hit = scale.restarts * (WORKERS * CONCURRENCY + THREADS) + faults.terminated_count
        rows = load.check(runs, most_lost=hit, may_fail=True)
        assert all(process.is_alive() for process in everybody), "a process has ended"
        print(
            f"{scale.restarts} hard restarts, {faults.terminated_count} sessions terminated, "
            f"{len(load.doubtful)} calls failed; at work again {spread(faults.waits)} after the database "
            f"was back; {figures(rows, runs, [])}"
        )
        assert max(faults.waits) <= scale.back


class Faults:
    """What happens to the database.

    Attributes:
        terminated_count: sessions that were.
        waits: seconds from the moment it was back until something was claimed, of each restart.
    """

    def __init__(self, server: postgres.Cluster, dice: random.Random) -> None:
        self.terminated_count = 0
        self.waits: list[float] = []
        self._server, self._dice = server, dice

    def restart(self) -> None:
        """Immediate shutdown: no session is told, nothing is flushed but what was committed."""
        self._server.stop(hard=True)
        self._server.start()
        connections.close_all()
        back_at = database_now()
        claimed = TaskExecutionTry.objects.filter(started_at__gt=back_at).order_by("started_at")
        first = wait_until(claimed.first, 60, "somebody works")
        self.waits.append((first.started_at - back_at).total_seconds())

    def terminate(self) -> None:
        """Some sessions of whoever has one but this."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY backend_start"
            )
            pids = [pid for (pid,) in cursor.fetchall()]
            for pid in self._dice.sample(pids, min(AT_ONCE, len(pids))):
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
                self.terminated_count += cursor.fetchall() == [(True,)]
