from __future__ import annotations

from benchmarks.notes import note
from benchmarks.peers.celery.app import app


@app.task
def nothing(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


def call(called_at: float) -> None:
    nothing.delay(called_at)
