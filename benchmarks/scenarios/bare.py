"""The most that pushing can reach: gunicorn answers the same Pub/Sub and does nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from benchmarks.measures import measure_push
from benchmarks.notes import note
from benchmarks.programs import listens
from benchmarks.pushes import connected
from benchmarks.sessions import Machine, Session

_SERVER = ("gunicorn", "--workers=1", "--threads=8", "--no-control-socket")


def measure_bare(ready: Session, _machine: Machine, is_quick: bool) -> dict[str, float]:
    count = 100 if is_quick else 5_000
    bare = _measure_gunicorn(ready, count)
    pushed = measure_push(ready, count)["push"]
    return {
        "push/s, bare gunicorn": bare,
        "push/s, our receiver": pushed,
        "push, our receiver : bare gunicorn": pushed / bare,
    }


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Read the message, as anybody must, and say that all is well."""
    environ["wsgi.input"].read()
    note(time.time())
    start_response("204 No Content", [])
    return ()


def _measure_gunicorn(ready: Session, count: int) -> float:
    ready.notes.clear()
    command = (*_SERVER, f"--bind=127.0.0.1:{ready.port}", f"{__name__}:application")
    with connected(ready.pubsub) as pubsub, ready.program(*command) as server:
        pubsub.fill("bare", count)
        server.wait_for(lambda: listens(ready.port))
        pubsub.release("bare", ready.push_endpoint)
        ready.wait_until_started(server, count)
    starts = ready.notes.read_starts()
    return count / (starts[-1] - starts[0])
