from __future__ import annotations

import time

from django.core.management import call_command

from benchmarks.notes import note
from i3tasks_django import task


@task(queue_name="heavy")
def nothing(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


@task(queue_name="heavy")
def sleep(called_at: float) -> None:
    note(called_at)
    time.sleep(1)


_pushed = nothing.using(queue_name="default")


def prepare() -> None:
    call_command("i3tasks_ensure_pubsub")


def call(called_at: float) -> None:
    nothing.delay(called_at)


def call_many(called_at: list[float]) -> None:
    nothing.delay_many((each,) for each in called_at)


def sleep_a_second(called_at: float) -> None:
    sleep.delay(called_at)


def push_many(called_at: list[float]) -> None:
    _pushed.delay_many((each,) for each in called_at)
