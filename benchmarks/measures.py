"""One round of one peer: calls, the drain of their backlog, a steady trickle, pushes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.figures import Figures, percentile
from benchmarks.peers.peer import Peer
from benchmarks.programs import Program, free_port, listens
from benchmarks.pushes import connected
from benchmarks.servers import Database
from benchmarks.sessions import PUSH_SUBSCRIPTION, Machine, Session, session

_CALLS_A_SECOND = 100
_WARM_CALLS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each.

    Attributes:
        task_count: the backlog.
        trickle_seconds: how long calls come at a steady pace.
    """

    task_count: int
    trickle_seconds: float


def measure(peer: Peer, machine: Machine, size: Size) -> Figures:
    backlog = max(_WARM_CALLS, int(size.task_count * peer.share))
    with session(peer, machine) as ready:
        figures = _measure_calls(ready, machine.database, backlog)
        with workers(ready) as working:
            figures |= measure_drain(ready, machine.database, working, backlog)
            figures |= _measure_trickle(ready, working, size.trickle_seconds)
        if peer.receiver:
            figures |= measure_push(ready, backlog)
    return figures


@contextmanager
def workers(ready: Session) -> Iterator[list[Program]]:
    with ExitStack() as exits:
        yield [exits.enter_context(ready.program(*ready.peer.worker)) for _ in range(ready.peer.worker_count)]


def measure_drain(
    ready: Session, database: Database, working: Sequence[Program], backlog: int, before: int = 0
) -> Figures:
    """From the first start to the last end. The workers have only just been started; `before` had ended."""
    database.count_from_here()
    working[0].wait_for(lambda: ready.notes.count, pause=0.002)
    cpu_before = sum(each.cpu_seconds for each in working)
    ended_at = ready.wait_until_finished(working[0], backlog, before + backlog)
    cpu = sum(each.cpu_seconds for each in working) - cpu_before
    figures: Figures = {
        "drain": backlog / (ended_at - ready.notes.read_starts()[0]),
        "cpu": cpu / backlog * 1000,
    }
    if (statements := database.counted()) is not None and not ready.peer.is_sqlite:
        figures |= {"run_sql": statements.work / backlog, "run_brackets": statements.bracket / backlog}
    return figures


def drain(ready: Session, database: Database, count: int) -> tuple[float, float]:
    """Bulk calls a second, and the drain a second of what they left; may be asked again."""
    ready.notes.clear()
    before = ready.finished()
    bulk = count / ready.call("in_bulk", count=count)
    with workers(ready) as working:
        figures = measure_drain(ready, database, working, count, before)
        # Killed, it would leave messages that the next worker is given once more.
        working[0].stop()
    return bulk, figures["drain"]


@contextmanager
def _beat(ready: Session) -> Iterator[Program]:
    port = free_port()
    with ready.program(*ready.peer.beat, PORT=str(port)) as beat:
        beat.wait_for(lambda: listens(port))
        yield beat


def _measure_calls(ready: Session, database: Database, backlog: int) -> Figures:
    """Makes the backlog; a peer that has bulk calls makes most of it by them."""
    ready.call("one_by_one", count=_WARM_CALLS)
    left = backlog - _WARM_CALLS
    single = left // 5 if ready.peer.has_bulk else left
    database.count_from_here()
    seconds = ready.call("one_by_one", count=single)
    figures: Figures = {"calls": single / seconds}
    if (statements := database.counted()) is not None and not ready.peer.is_sqlite:
        figures |= {"call_sql": statements.work / single, "call_brackets": statements.bracket / single}
    if ready.peer.has_bulk:
        bulk = left - single
        figures["bulk"] = bulk / ready.call("in_bulk", count=bulk)
    return figures


def _measure_trickle(ready: Session, working: Sequence[Program], seconds: float) -> Figures:
    """How long a call waits for its start while there is time; then what the processes have grown to."""
    ready.notes.clear()
    with ExitStack() as exits:
        beat = exits.enter_context(_beat(ready)) if ready.peer.beat else None
        count = ready.call("steadily", per_second=_CALLS_A_SECOND, seconds=seconds)
        # Not for their ends: a row of django-dramatiq says "enqueued" for ever when the task ends before its
        # caller has written the row.
        ready.wait_until_started(working[0], count)
        waited = sorted(started - called for called, started in ready.notes.read())
        figures: Figures = {
            "p50": percentile(waited, 50) * 1000,
            "p99": percentile(waited, 99) * 1000,
            "worker_mib": sum(each.peak_mib for each in working),
        }
        if beat:
            figures["beat_mib"] = beat.peak_mib
    return figures


def measure_push(ready: Session, backlog: int) -> Figures:
    """From the first start to the last end, the messages having waited at the Pub/Sub for the receiver."""
    ready.notes.clear()
    before = ready.finished()
    with connected(ready.pubsub) as pubsub, ready.receiver() as receiver:
        pubsub.hold(PUSH_SUBSCRIPTION)
        if ready.peer.has_push_bulk:
            ready.call("in_bulk", count=backlog, function="push_many")
        else:
            ready.call("one_by_one", count=backlog, function="push")
        receiver.wait_for(lambda: listens(ready.port))
        pubsub.release(PUSH_SUBSCRIPTION, ready.push_endpoint)
        ended_at = ready.wait_until_finished(receiver, backlog, before + backlog)
        return {
            "push": backlog / (ended_at - ready.notes.read_starts()[0]),
            "receiver_mib": receiver.peak_mib,
        }
