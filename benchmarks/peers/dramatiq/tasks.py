from __future__ import annotations

import dramatiq

from benchmarks.notes import note


@dramatiq.actor(store_results=True)
def nothing(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


def call(called_at: float) -> None:
    nothing.send(called_at)
