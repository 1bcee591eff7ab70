from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from benchmarks.notes import note

_interface = import_module("django.tasks" if find_spec("django.tasks") else "django_tasks")


@_interface.task
def nothing(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


def call(called_at: float) -> None:
    nothing.enqueue(called_at)
