from __future__ import annotations

from procrastinate.contrib.django import app

from benchmarks.notes import note


@app.task
def nothing(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


def call(called_at: float) -> None:
    nothing.defer(called_at=called_at)


def call_many(called_at: list[float]) -> None:
    nothing.batch_defer(*({"called_at": each} for each in called_at))  # type: ignore[arg-type]
