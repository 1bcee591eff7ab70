"""What the services ask of the database while there is nothing to do."""

from __future__ import annotations

import time

from benchmarks.peers import OURS
from benchmarks.programs import Program
from benchmarks.sessions import Machine, Session

_SETTLING_SECONDS = 2


def measure_idle(ready: Session, machine: Machine, is_quick: bool) -> dict[str, float]:
    seconds = 1 if is_quick else 30
    found: dict[str, float] = {}
    for name, command in (("worker", OURS.worker), ("beat", OURS.beat)):
        with ready.service(*command) as program:
            found |= _measure(name, program, machine, seconds)
    return found


def _measure(name: str, program: Program, machine: Machine, seconds: float) -> dict[str, float]:
    time.sleep(_SETTLING_SECONDS)
    before = program.cpu_seconds
    machine.database.count_from_here()
    time.sleep(seconds)
    statements = machine.database.counted()
    found = {f"CPU seconds an hour, idle {name}": (program.cpu_seconds - before) / seconds * 3600}
    if statements is not None:
        found[f"statements/s, idle {name}, without BEGIN and COMMIT"] = statements.work / seconds
        found[f"BEGIN and COMMIT/s, idle {name}"] = statements.bracket / seconds
    return found
