"""Where a process dies, and what must hold afterwards: one line for each line of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ticks
from django.db.models.functions import Now

import messages
from i3tasks_django import chain, group, store
from i3tasks_django.models import TaskExecutionTry, TaskSchedule
from project.fault_tasks import leave_a_trace
from project.stumbling import stumble


@dataclass(frozen=True, slots=True)
class Point:
    """A line of the protocol.

    Attributes:
        who: dies there: the ``runner`` (a receiver or a pull worker), the ``beat``, or the ``caller``.
        place: ``module:function:moment``, as ``project.dying`` reads it.
        work: what is called, a key of ``WORKS``.
        calls: how many calls there are in the end.
        lost: tries that were running and are given up: by the death, or, of the beat, by what it was to
            rescue. None where that is left to chance: the line is passed while the task runs.
        runs: how often a body was begun in all. One more than calls is a run that was paid for twice.
        mode: the way of delivery that has this line; both if empty.
    """

    who: str
    place: str
    work: str = "call"
    calls: int = 1
    lost: int | None = 0
    runs: int = 1
    mode: str = ""


_DELIVERY, _STORE, _SETTLE = "i3tasks_django.delivery", "i3tasks_django.store", "i3tasks_django.store.settle"
_FLOW, _RESCUE, _RINGING = (
    "i3tasks_django.store.flow",
    "i3tasks_django.store.rescue",
    "i3tasks_django.ringing",
)
_SUBSCRIBER, _WSGI = "i3tasks_core.pubsub.subscriber", "i3tasks_django.wsgi"

POINTS = {
    # The caller: without its COMMIT nothing is there, and after it everything.
    "enqueue: before the rows": Point("caller", f"{_FLOW}:insert:before", "program", 0, 0, 0),
    "enqueue: before COMMIT": Point("caller", f"{_FLOW}:insert:after", "program", 0, 0, 0),
    "enqueue: after COMMIT": Point("caller", f"{_RINGING}:ring:before", "program", 2, 0, 2),
    "enqueue: before the publish": Point("caller", f"{_RINGING}:publish:before", "program", 2, 0, 2),
    "enqueue: published": Point("caller", f"{_RINGING}:publish:after", "program", 2, 0, 2),
    # Before the claim the message comes again; from then until the settle's COMMIT the try is lost; after it
    # nothing is.
    "claim: before": Point("runner", f"{_STORE}:claim:before"),
    "claim: after COMMIT": Point("runner", f"{_STORE}:claim:after", lost=1),
    "run: before": Point("runner", "i3tasks_core.runner:run:before", lost=1),
    "run: after": Point("runner", "i3tasks_core.runner:run:after", lost=1, runs=2),
    "settle: before": Point("runner", f"{_STORE}:settle:before", lost=1, runs=2),
    "settle: the try ended": Point("runner", f"{_SETTLE}:_end_tries:after", lost=1, runs=2),
    "settle: the result written": Point("runner", f"{_SETTLE}:_save_results:after", lost=1, runs=2),
    "settle: the execution ended": Point("runner", f"{_SETTLE}:end_executions:after", lost=1, runs=2),
    "settle: the group counted": Point("runner", f"{_FLOW}:Flow._count:after", "join", 2, 1, 3),
    "settle: the next step written": Point("runner", f"{_FLOW}:insert:after", "step", 2, 1, 3),
    "settle: the callback written": Point("runner", f"{_FLOW}:insert:after", "join", 2, 1, 3),
    "settle: the next try written": Point("runner", f"{_SETTLE}:add_tries:after", "stumble", 1, 1, 2),
    "settle: before COMMIT": Point("runner", f"{_SETTLE}:settle_within:after", "step", 2, 1, 3),
    "settle: after COMMIT": Point("runner", f"{_STORE}:settle:after", "step", 2, 0, 2),
    "settle: after COMMIT of a retry": Point("runner", f"{_STORE}:settle:after", "stumble", 1, 0, 2),
    "go on: before the publish": Point("runner", f"{_RINGING}:publish:before", "step", 2, 0, 2),
    # It may have claimed by then what it has rung for.
    "go on: published": Point("runner", f"{_RINGING}:publish:after", "step", 2, None),
    "push: before the answer": Point("runner", f"{_WSGI}:Routes.__call__:after", mode="push"),
    "pull: before the acknowledgement": Point(
        "runner", f"{_SUBSCRIBER}:Subscriber.acknowledge:before", lost=None, mode="pull"
    ),
    "pull: acknowledged": Point(
        "runner", f"{_SUBSCRIBER}:Subscriber.acknowledge:after", lost=None, mode="pull"
    ),
    # The beat: whatever it leaves half done, the next one finds as it was.
    "rescue: before": Point("beat", f"{_STORE}:rescue:before", "silent", lost=1),
    "rescue: the try ended": Point("beat", f"{_RESCUE}:end_tried:before", "silent", lost=1),
    "rescue: before COMMIT": Point("beat", f"{_RESCUE}:end_tried:after", "silent", lost=1),
    "rescue: after COMMIT": Point("beat", f"{_STORE}:rescue:after", "silent", lost=1),
    "relay: reserved, not published": Point(
        "beat", "i3tasks_django.publishing:_publish_batch:before", "delayed"
    ),
    "relay: published": Point("beat", "i3tasks_django.publishing:_publish_batch:after", "delayed"),
    "tick: the schedule moved on": Point("beat", f"{_STORE}:move_on:after", "tick"),
    "tick: before COMMIT": Point("beat", f"{_STORE}:record_ticks:after", "tick"),
    "tick: after COMMIT": Point("beat", "i3tasks_django.scheduling:_fire_batch:after", "tick"),
}


def for_mode(mode: str) -> dict[str, Point]:
    return {name: point for name, point in POINTS.items() if point.mode in ("", mode)}


def work(kind: str, path: str, queue_name: str) -> Any:
    """Call what a point needs to be reached; a program's calls are its own."""
    return WORKS[kind](path, queue_name)


def _call(path: str, queue_name: str) -> None:
    leave_a_trace.using(queue_name=queue_name).delay(path, "call")


def _step(path: str, queue_name: str) -> None:
    traced = leave_a_trace.using(queue_name=queue_name)
    chain(traced.s(path, "first"), traced.s(path, "second")).delay()


def _join(path: str, queue_name: str) -> None:
    traced = leave_a_trace.using(queue_name=queue_name)
    chain(group(traced.s(path, "member")), traced.s(path, "joined")).delay()


def _stumble(path: str, queue_name: str) -> None:
    stumble.using(queue_name=queue_name).delay(path, "stumbles")


def _silent(path: str, queue_name: str) -> None:
    """A call that somebody claimed who is gone."""
    handle = leave_a_trace.using(queue_name=queue_name, run_after=3_600).delay(path, "silent")
    TaskExecutionTry.objects.update(run_after=None)
    assert store.claim([messages.envelope_of(handle)], lease=timedelta(seconds=0.1), worker="gone")


def _delayed(path: str, queue_name: str) -> None:
    leave_a_trace.using(queue_name=queue_name, run_after=0.5).delay(path, "delayed")


def _tick(path: str, queue_name: str) -> None:
    row = ticks.make_schedule("yearly", leave_a_trace, path, "tick", cron="0 0 1 1 *")
    TaskSchedule.objects.filter(pk=row.pk).update(
        queue_name=queue_name, next_run_at=Now() - timedelta(seconds=1)
    )


WORKS = {
    "call": _call,
    "step": _step,
    "join": _join,
    "stumble": _stumble,
    "silent": _silent,
    "delayed": _delayed,
    "tick": _tick,
}
