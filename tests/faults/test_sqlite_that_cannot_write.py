"""SQLite on a full disk, or in a file that may not be written: it is said, it passes, and nothing is lost."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import invariants
import ledger
import pytest
from chaos import long, seeded
from django.db import connection
from figures import figures
from load import DRAIN, Load
from sqlite_file import check_integrity

import databases
import processes
from i3tasks_core.config import PubSubConfig
from i3tasks_django import service
from i3tasks_django.models import TaskExecution
from i3tasks_django.publishing import declare
from processes import wait_until
from project.fault_tasks import leave_a_trace

PATIENCE = 120
CALLS = 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def services_there(
    small_disk: Path, embedded_pubsub: PubSubConfig, monkeypatch: pytest.MonkeyPatch
) -> Iterator[processes.Stack]:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with databases.sqlite_database() as database, databases.current(database):
        monkeypatch.setattr(tempfile, "tempdir", None)
        with processes.stack(database, lease=3.0) as made, ledger.ledger():
            assert declare()
            yield made


@pytest.mark.parametrize(("times", "seed"), long(5, timeout=300))
def test_a_full_disk_is_told_to_callers_and_costs_no_task(times, seed, services_there, small_disk, oracle):
    with seeded(seed) as dice:
        everybody = [services_there.worker(), services_there.worker(), services_there.beat()]
        load = Load(oracle, members=20, is_stubborn=True)
        with load.running(None, PATIENCE):
            for number in range(times):
                wait_until(lambda n=number: len(load.called) > 5 * n, PATIENCE, "calls are taken")
                with full(small_disk):
                    refused = len(load.doubtful)
                    wait_until(lambda n=refused: len(load.doubtful) > n, PATIENCE, "a call is refused")
                    time.sleep(dice.uniform(0, 5))  # for how long it is full is the fault itself
        wait_until(load.has_ended, DRAIN, "everything ends")

        runs = oracle.read()
        rows = load.check(runs, most_lost=runs.broken_off_count, may_fail=True)
        check_integrity(connection)
        assert all(process.is_alive() for process in everybody)
        assert load.errors == {"database or disk is full"}
        print(f"{times} times full, {len(load.doubtful)} calls refused; {figures(rows, runs, [])}")


@contextmanager
def full(folder: Path) -> Iterator[None]:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """The file, its log and their folder; who has one open may go on."""
    modes = {path.parent: 0o555, **dict.fromkeys(path.parent.iterdir(), 292)}
    for each, mode in modes.items():
        each.chmod(mode)
    try:
        yield
    finally:
        for each, mode in modes.items():
            each.chmod(mode | 0o200)


def test_a_service_that_starts_leaves_no_connection_open(either_database):
    """What could only be read when a process first opened it stays so until nobody there has it open."""
    connection.close()
    service._require_tables()
    assert connection.connection is None


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_file_that_may_not_be_written_is_waited_for(services, oracle):
    for number in range(CALLS):
        leave_a_trace.delay(str(oracle.path), f"call-{number}")
    with read_only(Path(connection.settings_dict["NAME"])):
        everybody = [
            services.start("project.unprivileged", "i3tasks_worker", "--queue=heavy"),
            services.start("project.unprivileged", "i3tasks_beat", PORT="0"),
        ]
        for process in everybody:
            wait_until(lambda p=process: re.search("readonly|unable to open", p.output), 30, "it is said")
        time.sleep(2)  # for a while, to see that nobody gives up
        assert oracle.count() == 0
        assert all(process.is_alive() for process in everybody)
    wait_until(lambda: not TaskExecution.objects.filter(state="pending").exists(), DRAIN, "everything ends")

    rows, runs = invariants.Rows(), oracle.read()
    invariants.check(rows, runs, most_lost=0)
    check_integrity(connection)
    print(f"a file that could not be written; {figures(rows, runs, [])}")
