"""Callers killed around their COMMIT: what was answered is there, all else is there whole or not at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import invariants
import pytest
from chaos import long, seeded
from django.db import connection
from oracle import Oracle
from sqlite_file import check_integrity

from i3tasks_django.models import TaskExecution
from processes import lines, wait_until
from project.enqueuer import labels

PATIENCE = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many clients die, one after the other."""

    kills: int


@pytest.mark.parametrize(("scale", "seed"), long(Scale(kills=200), timeout=400))
def test_what_was_answered_is_there_and_nothing_is_there_in_part(scale, seed, services, oracle, tmp_path):
    trace = tmp_path / "trace"
    with seeded(seed) as dice:
        services.worker()
        services.beat()
        client = services.start(
            "project.enqueuer", str(trace), str(oracle.path), str(scale.kills), str(dice.randrange(10**6))
        )
        assert client.exit_code(PATIENCE) == 0, client.output
        wait_until(has_ended, PATIENCE, "everything ends")

        rows = invariants.Rows()
        invariants.check(rows, oracle.read(), most_lost=0)
        found = Counter(row.task_args[1] for row in rows.executions.values())
        intended, acked = told(trace, "intent"), told(trace, "acked")
        assert lines(trace).count("killed") == scale.kills
        unanswered = {name for name in intended - acked if f"{name}-first" in found}
        assert found == Counter(label for name in acked | unanswered for label in labels(name))
        assert acked, "no client lived long enough to call"
        check_integrity(connection)
        print(
            f"{scale.kills} kills, {len(intended)} calls begun: {len(acked)} answered and all there, "
            f"{len(unanswered)} committed without an answer, {len(intended - acked - unanswered)} "
            f"never made; {len(found)} tasks, 0 lost, 0 in part, {duplicates(oracle)} duplicate runs"
        )


def has_ended() -> bool:
    return not TaskExecution.objects.filter(state="pending").exists()


def told(trace: object, what: str) -> set[str]:
    words = [line.split() for line in lines(trace)]  # type: ignore[arg-type]
    return {word[1] for word in words if word[0] == what}


def duplicates(oracle: Oracle) -> int:
    runs = oracle.read()
    return len(runs.starts) - len(runs.first_start)
