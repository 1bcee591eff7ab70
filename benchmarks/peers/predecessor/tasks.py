from __future__ import annotations

from django_i3tasks.utils import TaskDecorator

from benchmarks.notes import note


@TaskDecorator(topic_name="heavy", subscription_name="heavy")
def nothing(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


@TaskDecorator
def nothing_pushed(called_at: float) -> dict[str, float]:
    note(called_at)
    return {"called_at": called_at}


def call(called_at: float) -> None:
    nothing.delay(called_at)


def push(called_at: float) -> None:
    nothing_pushed.delay(called_at)
