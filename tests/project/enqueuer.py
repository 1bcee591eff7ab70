"""Clients that die around their commits: this forks children that call tasks, and kills each of them."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

import django

MOST_LINES = 8
"""A child says less than this before it dies: it connects, and calls a few times."""

MOST_SECONDS = 0.05
"""And it dies at a random moment of so many after that: what a few calls take."""


def main(trace: str, oracle: str, kills: int, seed: int) -> None:
    django.setup()
    # Before the first fork: a child that had to import this would be killed before its first ring.
    import_module("google.pubsub_v1")

    from project import fault_tasks

    dice = random.Random(seed)
    for number in range(kills):
        child = os.fork()
        if not child:
            call_until_killed(trace, oracle, f"client-{number}")
        wait_for(trace, f" client-{number}-", dice.randrange(1, MOST_LINES))
        time.sleep(dice.uniform(0, MOST_SECONDS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        fault_tasks.note(trace, "killed")


def wait_for(trace: str, text: str, count: int) -> None:
    """Until the trace has so many lines with that text."""
    while not os.path.exists(trace) or Path(trace).read_text().count(text) < count:
        time.sleep(0.001)


def call_until_killed(trace: str, oracle: str, client: str) -> None:
    """Say what is to be called, call it, and say that this was answered."""
    from project.fault_tasks import note

    try:
        for number in range(1_000_000):
            note(trace, f"intent {client}-{number}")
            call(oracle, f"{client}-{number}")
            note(trace, f"acked {client}-{number}")
    finally:
        os._exit(1)


def call(oracle: str, label: str) -> None:
    """A chain and a group in one transaction: see ``labels``."""
    from django.db import transaction

    from i3tasks_django.models import TaskGroup
    from project.fault_tasks import leave_a_trace

    first, step, joined, *members = labels(label)
    with transaction.atomic():
        leave_a_trace.s(oracle, first).then(leave_a_trace, oracle, step).delay()
        TaskGroup.dispatch(
            [leave_a_trace.s(oracle, member) for member in members], callback=leave_a_trace.s(oracle, joined)
        )


def labels(label: str) -> list[str]:
    """All that one call comes to in the end."""
    return [f"{label}-{part}" for part in ("first", "step", "joined", "member-0", "member-1")]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
