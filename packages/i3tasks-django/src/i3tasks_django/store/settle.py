"""SETTLE: how tries ended and everything that follows from it, in one fenced transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from i3tasks_core.envelope import Envelope
from i3tasks_core.finish import Finish
from i3tasks_core.states import ExecutionState, TryState
from i3tasks_core.steps import load
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.store.create import NextTry, add_tries
from i3tasks_django.store.database import alias, by_id, dialect, resilient, rows
from i3tasks_django.store.end import end_executions, silence
from i3tasks_django.store.flow import Flow
from i3tasks_django.store.given import given, parameter
from i3tasks_django.store.insert import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What settling came to.

    Attributes:
        ours: the ids of the tries whose end was ours to write; the others have been given to somebody else.
        doorbells: what to ring now.
    """

    ours: frozenset[int] = frozenset()
    doorbells: tuple[Envelope, ...] = ()

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


def settle(finishes: Sequence[Finish], patience: float) -> Settlement:
    """Write the ends of those tries that are still ours, and leave the others alone.

    Safe to run again when the answer to its COMMIT was lost: the second run finds the tries ended.

    Args:
        finishes: each of another try.
        patience: seconds to go on trying while the database is away; well below the lease.
    """
    # In the order of ids, as everybody locks them.
    finishes = sorted(finishes, key=lambda finish: finish.claim.try_id)

    def write() -> Settlement:
        with transaction.atomic(using=alias(), durable=True):
            return settle_within(finishes)

    settlement = resilient("settle", write, patience)
    missing = [finish for finish in finishes if finish.claim.try_id not in settlement.ours]
    if not missing:
        return settlement
    return Settlement(ours=settlement.ours | were_settled(missing), doorbells=settlement.doorbells)


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
