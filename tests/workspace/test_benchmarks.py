"""The benchmarks run: one small round, with whatever is here. Nobody looks at its figures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import readme

pytestmark = [pytest.mark.benchmarks, pytest.mark.timeout(300)]


def run(path, *options):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", path, *options],
        cwd=readme.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(path.read_text())


def test_a_round_of_all_peers_that_are_here_ends_in_a_table(tmp_path):
    peers = "ours,ours on SQLite,procrastinate,django-tasks-db,predecessor,celery,dramatiq"
    printed, report = run(tmp_path / "figures.json", "--scenarios", "none", "--only", peers)

    assert {"calls", "bulk", "drain", "push", "p50", "p99", "worker_mib", "beat_mib", "cpu"} <= set(
        report["medians"]["ours"]
    )
    assert "ours on SQLite" in report["medians"]
    assert "fsync on, synchronous_commit on" in printed


def test_each_scenario_gives_figures(tmp_path):
    _, report = run(tmp_path / "figures.json", "--only", "none")

    assert len(report["scenarios"]) == 8
    assert all(report["scenarios"].values())
