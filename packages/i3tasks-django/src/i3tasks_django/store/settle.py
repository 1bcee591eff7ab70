"""SETTLE: how tries ended and everything that follows from it, in one fenced transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from i3tasks_core.envelope import Envelope
from i3tasks_core.finish import Finish
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_core.steps import load
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from i3tasks_django.store.create import NextTry, add_tries
from i3tasks_django.store.database import (
    RowsLocked,
    alias,
    by_id,
    connection,
    dialect,
    free_of_locks,
    resilient,
    rows,
    waiting_for_locks,
)
from i3tasks_django.store.end import end_executions, silence
from i3tasks_django.store.flow import Flow
from i3tasks_django.store.given import given, parameter
from i3tasks_django.store.insert import Origin
from i3tasks_django.store.watch import watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What settling came to.

    Attributes:
        ours: the ids of the tries whose end was ours to write; the others have been given to somebody else.
        doorbells: what to ring now.
        blocked: the ids of those that are still to be written: somebody keeps a row locked that their ends
            change.
    """

    ours: frozenset[int] = frozenset()
    doorbells: tuple[Envelope, ...] = ()
    blocked: frozenset[int] = frozenset()

    @property
    def is_ours(self) -> bool:
        """Of one try: whether its end was ours to write."""
        return bool(self.ours)


STALE = Settlement()

_ENDED_WITH = {
    TryState.SUCCESS: ExecutionState.SUCCESS,
    TryState.FAILED: ExecutionState.FAILED,
    TryState.LOST: ExecutionState.FAILED,
}


def settle(finishes: Sequence[Finish], patience: float, lock_patience: float | None = None) -> Settlement:
    """Write the ends of those tries that are still ours, and leave the others alone.

    Safe to run again when the answer to its COMMIT was lost: the second run finds the tries ended.

    Args:
        finishes: each of another try.
        patience: seconds to go on trying while the database is away; well below the lease.
        lock_patience: seconds to wait for what others have locked, a group to which somebody adds members in
            a long transaction, say. Who waited longer writes the others and is told which are left. None
            waits as long as it takes.
    """
    # In the order of ids, as everybody locks them.
    finishes = sorted(finishes, key=lambda finish: finish.claim.try_id)

    def write() -> Settlement:
        with waiting_for_locks(lock_patience):
            return settle_within(finishes)

    try:
        settlement = resilient("settle", write, patience, may_last=lock_patience is None)
    except RowsLocked:
        return _settle_free(finishes, patience, lock_patience)
    missing = [finish for finish in finishes if finish.claim.try_id not in settlement.ours]
    if not missing:
        return settlement
    return replace(settlement, ours=settlement.ours | were_settled(missing))


def _settle_free(finishes: Sequence[Finish], patience: float, lock_patience: float | None) -> Settlement:
    """Those of them whose rows nobody has locked."""

    def write() -> Settlement:
        with waiting_for_locks(lock_patience):
            free = free_executions(finish.claim.execution_id for finish in finishes)
            writable = [finish for finish in finishes if finish.claim.execution_id in free]
            left = _ids(finishes) - _ids(writable)
            return replace(settle_within(writable) if writable else STALE, blocked=left)

    try:
        return resilient("settle", write, patience)
    except RowsLocked:  # farther up, in the group of a group
        if len(finishes) == 1:
            return Settlement(blocked=_ids(finishes))
    middle = len(finishes) // 2
    one, other = (
        _settle_free(part, patience, lock_patience) for part in (finishes[:middle], finishes[middle:])
    )
    return Settlement(
        ours=one.ours | other.ours,
        doorbells=one.doorbells + other.doorbells,
        blocked=one.blocked | other.blocked,
    )


def _ids(finishes: Sequence[Finish]) -> frozenset[int]:
    return frozenset(finish.claim.try_id for finish in finishes)


def free_executions(pks: Iterable[UUID]) -> set[UUID]:
    """Those that nobody has locked, nor the group that waits for them; locks them."""
    executions = TaskExecution.objects.using(alias()).filter(pk__in=list(pks))
    group_of = dict(free_of_locks(executions).values_list("pk", "task_group"))
    groups = TaskGroup.objects.using(alias()).filter(pk__in={pk for pk in group_of.values() if pk})
    free_groups = {None, *free_of_locks(groups).values_list("pk", flat=True)}
    return {pk for pk, group_id in group_of.items() if group_id in free_groups}


def settle_within(finishes: Sequence[Finish]) -> Settlement:
    """The same inside a transaction of the caller's, which may be for nothing when none was ours."""
    # The tries' rows are locked first of all, and what is not ours is left out from here on.
    ours = _end_tries(finishes)
    mine = [finish for finish in finishes if finish.claim.try_id in ours]
    if not mine:
        return STALE
    _save_results(mine)
    return Settlement(ours=frozenset(ours), doorbells=end_tried(mine))


def were_settled(finishes: Sequence[Finish]) -> frozenset[int]:
    """Those whose very end has been written: only the holder of the fence could have."""
    ended = {(finish.claim.try_id, finish.claim.fence, finish.outcome.state) for finish in finishes}
    found = (
        TaskExecutionTry.objects.using(alias())
        .filter(pk__in=[try_id for try_id, _, _ in ended])
        .values_list("pk", "fence", "state")
    )
    with watch.over(connection()):
        return frozenset(row[0] for row in found if row in ended)


def end_tried(finishes: Sequence[Finish]) -> tuple[Envelope, ...]:
    """What becomes of the calls whose tries have just ended: another try, or their end and what follows it.

    Returns:
        The doorbells to ring after the commit.
    """
    by_execution = {finish.claim.execution_id: finish for finish in finishes}
    flow = Flow()
    again: list[NextTry] = []
    for ended in end_executions({pk: _end(finish) for pk, finish in by_execution.items()}):
        finish = by_execution[ended.id]
        if ended.state == ExecutionState.PENDING:
            again.append(_next_try(finish))
        elif ended.chain:
            chain, is_success = load(ended.chain), ended.state == ExecutionState.SUCCESS
            origin = Origin(chained_from=ended.id)
            flow.follow(chain, origin, is_success=is_success, is_cancelled=ended.is_cancelled)
            if not is_success:
                silence(ended.id, chain)
    return (*flow.write(), *add_tries(again))


def _end(finish: Finish) -> ExecutionState:
    """What its call comes to; pending if another try is wanted."""
    if finish.outcome.retry_after is not None:
        return ExecutionState.PENDING
    return _ENDED_WITH[finish.outcome.state]


def _next_try(finish: Finish) -> NextTry:
    claim, delay = finish.claim, finish.outcome.retry_after
    assert delay is not None  # or the call would not be pending
    return NextTry(
        execution_id=claim.execution_id,
        try_number=claim.try_number + 1,
        queue_name=claim.queue_name,
        delay=delay,
    )


def _end_tries(finishes: Sequence[Finish]) -> set[int]:
    sql = _END.format(
        now=dialect().now,
        is_running=by_id(TryState.RUNNING),
        given=given(
            len(finishes),
            try_id="bigint",
            held="integer",
            ended="text",
            error="text",
            message="text",
            frames="text",
        ),
    )
    return {try_id for (try_id,) in rows(sql, [parameter(map(_as_row, finishes))])}


def _as_row(finish: Finish) -> dict[str, object]:
    row: dict[str, object] = {
        "try_id": finish.claim.try_id,
        "held": finish.claim.fence,
        "ended": finish.outcome.state,
    }
    if error := finish.outcome.error:
        row |= {"error": error.error_class, "message": error.message, "frames": error.traceback}
    return row


# The fence: a try that was given to somebody else since is no longer ours to end.
_END = """
UPDATE i3tasks_django_taskexecutiontry AS attempt
SET state = ended, finished_at = {now}, lease_until = NULL, error_class = COALESCE(error, ''),
    error_message = COALESCE(message, ''), traceback = COALESCE(frames, '')
FROM {given}
WHERE attempt.id = given.try_id AND {is_running} AND fence = held
RETURNING id
"""


def _save_results(finishes: Sequence[Finish]) -> None:
    results = [
        {"try_id": finish.claim.try_id, "value": json.dumps(finish.outcome.result)}
        for finish in finishes
        if finish.outcome.result is not None
    ]
    if results:
        sql = _RESULTS.format(
            value=dialect().json_of.format("value"), given=given(len(results), try_id="bigint", value="text")
        )
        rows(sql, [parameter(results)])


_RESULTS = """
INSERT INTO i3tasks_django_taskexecutionresult (task_execution_try_id, result)
SELECT try_id, {value} FROM {given}
RETURNING id
"""
