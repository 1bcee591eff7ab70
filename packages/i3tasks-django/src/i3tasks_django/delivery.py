"""From a call to its end: message in → claim → run → settle → publish. Push and pull both come here."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from uuid import UUID

from django.db import OperationalError, transaction

from i3tasks_core import events, outcome, registry, runner
from i3tasks_core.claim import Claim, TaskMetadata
from i3tasks_core.envelope import Envelope, decode
from i3tasks_core.errors import EnvelopeError
from i3tasks_core.finish import Finish
from i3tasks_core.outcome import Error, Outcome
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_core.registry import TaskDefinition
from i3tasks_core.sharing import Shared
from i3tasks_core.states import TryState
from i3tasks_core.worker import Admission
from i3tasks_django import store
from i3tasks_django.lineage import Lineage
from i3tasks_django.models import TaskExecution
from i3tasks_django.ringing import publish_on_commit
from i3tasks_django.runtime import Runtime
from i3tasks_django.sessions import discard_changed_sessions, watch_new_sessions, watch_sessions
from i3tasks_django.store import Settlement
from i3tasks_django.store.database import (
    alias,
    connection,
    discard_open_transactions,
    drop_dead_connections,
    give_back_pooled_connections,
    is_overtaken,
)

_MOST_SHARED = 100
_LOCK_PATIENCE = 0.1
"""Seconds that those whose ends are written together wait for a row that one of them needs."""
_LOCK_WAIT = 5.0
"""Seconds of one of the statements in which a thread waits for its try alone; then it asks again."""

_CLAIM_PATIENCE = 4.0
"""Seconds after which Pub/Sub is told to come again rather than kept waiting for a database."""


class Verdict(Enum):
    """What became of a message's try."""

    SETTLED = "settled"
    NOTHING_TO_DO = "nothing to do"  # a duplicate, early, finished, unknown
    RELEASED = "released"
    UNSETTLED = "unsettled"  # it ran, but its end could not be written: the lease will run out
    BLOCKED = "blocked"  # it ran, and somebody keeps a row locked that its end changes: to be written later


_left_open = outcome.failed(
    Error(
        error_class="TransactionLeftOpen",
        message="the task left an atomic() block open, or closed one that is not its own",
    )
)


class _RolledBack(Exception):
    """Leaves the transaction of an ``atomic=True`` task."""


class Delivery:
    """Takes messages to their end.

    Args:
        current: the process's runtime.
        queue_name: the only queue whose messages are ours to take; None takes any.
    """

    def __init__(self, current: Runtime, queue_name: str | None = None) -> None:
        self._runtime = current
        self._queue_name = queue_name
        self._reported: OrderedDict[str, None] = OrderedDict()
        watch_new_sessions()

    def read(self, data: bytes, attributes: dict[str, str]) -> Envelope:
        """What a message says; costs no query.

        Raises:
            EnvelopeError: nobody can read it, or it is not one of ours.
        """
        envelope = decode(data, attributes, self._runtime.keys)
        if self._queue_name is not None and envelope.queue_name != self._queue_name:
            raise EnvelopeError(f"a message of queue {envelope.queue_name!r} on queue {self._queue_name!r}")
        return envelope

    def deliver(self, envelope: Envelope) -> Verdict:
        """Claim, run and settle one try in this thread.

        Raises:
            OperationalError, InterfaceError: the database is away; the message was not consumed.
        """
        claims = self._claim([envelope])
        return self.perform(claims[0]) if claims else Verdict.NOTHING_TO_DO

    def admit(self, messages: Sequence[Received]) -> Admission:
        """Claim what a batch of messages names.

        Raises:
            OperationalError, InterfaceError: the database is away; nothing was consumed.
        """
        readable: dict[str, Envelope] = {}
        for message in messages:
            try:
                readable[message.ack_id] = self.read(message.data, message.attributes)
            except EnvelopeError as error:
                self.report_unreadable(message.message_id, error)
        if not readable:
            return Admission(claims=[], consumed=[])
        try:
            return Admission(claims=self._claim(readable.values()), consumed=list(readable))
        finally:
            give_back_pooled_connections()

    def perform(self, claim: Claim) -> Verdict:
        """Run a claimed try and write its end, in this thread. Raises nothing."""
        ran = self._run(claim)
        return ran if isinstance(ran, Verdict) else self._settle_waiting(ran)

    def run(self, claim: Claim) -> Finish | None:
        """Run a claimed try; None when there is no end left to write. Raises nothing."""
        ran = self._run(claim)
        return ran if isinstance(ran, Finish) else None

    def settle(self, finishes: Sequence[Finish]) -> list[Finish]:
        """Write the ends of tries that were run: together, or else one by one. Raises nothing.

        Returns:
            Those that are to be handed in again: somebody else keeps a row locked that they change.
        """
        pairs = zip(finishes, self._settle_free(finishes), strict=True)
        return [finish for finish, verdict in pairs if verdict is Verdict.BLOCKED]

    def report_unreadable(self, message_id: str, error: EnvelopeError) -> None:
        """Log it, once for each message: it will come again and again."""
        if message_id in self._reported:
            return
        self._reported[message_id] = None
        if len(self._reported) > 10_000:
            self._reported.popitem(last=False)
        events.MESSAGE_UNREADABLE(message_id=message_id, error=str(error))

    def release(self, claims: Sequence[Claim]) -> None:
        """Hand back what was claimed and not started."""
        self._runtime.heart.drop(claims)
        for claim in claims:
            events.TRY_RELEASED(**claim.facts)
        try:
            store.release(claims)
        finally:
            give_back_pooled_connections()

    def _claim(self, bells: Collection[Envelope]) -> list[Claim]:
        by_id = {bell.try_id: bell for bell in bells}
        current = self._runtime
        claims = store.claim(list(by_id.values()), lease=current.config.lease, worker=current.worker_name)
        current.heart.hold(claims)
        missed = set(by_id) - {claim.try_id for claim in claims}
        if missed:
            self._rescue(missed)
        return claims

    def _rescue(self, missed: set[int]) -> None:
        """A message for a try that somebody holds: if that somebody is silent, this is the time to notice.

        Raises nothing: what was claimed in the same batch must run, and the beat rescues as well.
        """
        try:
            rescue(store.expired(len(missed), among=sorted(missed)))
        except Exception as error:  # noqa: BLE001
            events.RESCUE_FAILED(error=repr(error))

    def _run(self, claim: Claim) -> Finish | Verdict:
        """What is left to write, or what became of the try if nothing is. Raises nothing."""
        ran: Finish | Verdict = Verdict.UNSETTLED
        try:
            drop_dead_connections()
            watch_sessions()
            ran = self._run_task(claim)
        except Exception as error:  # noqa: BLE001 - the thread's next try must not suffer; the lease runs out
            events.TRY_UNSETTLED(**claim.facts, error=repr(error))
        finally:
            if isinstance(ran, Verdict):
                self._runtime.heart.drop([claim])
            discard_changed_sessions()
            give_back_pooled_connections()
        return ran

    def _run_task(self, claim: Claim) -> Finish | Verdict:
        task = registry.find(claim.task_path, claim.task_name)
        if task is None:
            return self._without_task(claim)
        events.TRY_STARTED(**claim.facts)
        began = time.monotonic()
        was_open = connection().in_atomic_block  # only inside a test's own transaction
        ended, settlement = self._run_atomic(claim, task) if task.atomic else self._run_plain(claim, task)
        finish = Finish(claim, ended, time.monotonic() - began)
        if settlement is None:
            if not was_open:
                discard_open_transactions()
            return finish
        _report(finish, is_ours=settlement.is_ours)
        publish_on_commit(settlement.doorbells)
        return Verdict.SETTLED if settlement.is_ours else Verdict.NOTHING_TO_DO

    def _run_plain(self, claim: Claim, task: TaskDefinition) -> tuple[Outcome, Settlement | None]:
        """How it ended; the end is still to be written."""
        return runner.run(claim, task, metadata_for(task, claim)), None

    def _run_atomic(self, claim: Claim, task: TaskDefinition) -> tuple[Outcome, Settlement | None]:
        """The same, but a success is written in the body's own transaction; anything else undoes the body.

        A body that succeeded and was undone by another transaction at its end runs again at once: under
        REPEATABLE READ a group's counter alone would use up its members' tries.
        """
        deadline = time.monotonic() + self._runtime.patience
        while True:
            ended, settlement, error = self._run_in_transaction(claim, task)
            if error is None:
                return ended, settlement if ended.state is TryState.SUCCESS else None
            # The commit may have taken effect although its answer was lost.
            if ended.state is TryState.SUCCESS and (ours := store.were_settled([Finish(claim, ended)])):
                return ended, Settlement(ours=ours)
            is_undone = ended.state is TryState.SUCCESS and is_overtaken(error)
            if not is_undone or time.monotonic() > deadline:
                return ended if ended is _left_open else runner.after_error(error, claim, task), None
            time.sleep(random.uniform(0.0, 0.1))  # noqa: S311 - not a secret

    def _run_in_transaction(
        self, claim: Claim, task: TaskDefinition
    ) -> tuple[Outcome, Settlement, Exception | None]:
        """How the body ended, what settling came to, and the database's error, or Django's, about both."""
        ended, settlement = outcome.succeeded(None), store.STALE
        try:
            with transaction.atomic(using=alias(), durable=True):
                depth = len(connection().atomic_blocks)
                ended = runner.run(claim, task, metadata_for(task, claim))
                if len(connection().atomic_blocks) != depth:
                    # Its end would be a savepoint's and no commit.
                    ended = _left_open
                if ended.state is TryState.SUCCESS:
                    settlement = store.settle_within([Finish(claim, ended)])
                if not settlement.is_ours:
                    raise _RolledBack  # noqa: TRY301 - it leaves the transaction, which is all it is for
        except _RolledBack:
            pass
        except Exception as error:  # noqa: BLE001 - also Django's about blocks that the task has left
            return ended, settlement, error
        return ended, settlement, None

    def _without_task(self, claim: Claim) -> Finish | Verdict:
        events.TRY_UNREGISTERED(**claim.facts)
        if claim.is_overdue:
            return Finish(claim, outcome.unregistered(f"{claim.task_path}.{claim.task_name}"))
        store.postpone_unregistered(claim)
        return Verdict.RELEASED

    def _settle_free(self, finishes: Sequence[Finish]) -> list[Verdict]:
        """What became of each; waits for no row that somebody has locked for long."""
        patience = self._runtime.patience
        deadline = time.monotonic() + patience
        verdicts = self._settle_together(finishes, patience / 2) if len(finishes) > 1 else []
        verdicts = verdicts or [self._settle_alone(finish, deadline, _LOCK_PATIENCE) for finish in finishes]
        pairs = zip(finishes, verdicts, strict=True)
        self._let_go(finish for finish, verdict in pairs if verdict is not Verdict.BLOCKED)
        return verdicts

    def _settle_waiting(self, finish: Finish) -> Verdict:
        """The same for one, in a thread that may wait for whoever has its rows."""
        verdict = Verdict.BLOCKED
        while verdict is Verdict.BLOCKED:
            verdict = self._settle_alone(finish, time.monotonic() + self._runtime.patience, _LOCK_WAIT)
        self._let_go([finish])
        return verdict

    def _let_go(self, finishes: Iterable[Finish]) -> None:
        self._runtime.heart.drop(finish.claim for finish in finishes)
        give_back_pooled_connections()

    def _settle_together(self, finishes: Sequence[Finish], patience: float) -> list[Verdict]:
        """Nothing if they cannot be written together."""
        try:
            return self._settle(finishes, patience, _LOCK_PATIENCE)
        except Exception as error:  # noqa: BLE001 - one that cannot be written must not hold up its neighbours
            events.BATCH_FAILED(count=len(finishes), error=repr(error))
            return []

    def _settle_alone(self, finish: Finish, deadline: float, lock_patience: float) -> Verdict:
        try:
            return self._settle([finish], max(0.0, deadline - time.monotonic()), lock_patience)[0]
        except Exception as error:  # noqa: BLE001 - the next try must not suffer; this one's lease runs out
            events.TRY_UNSETTLED(**finish.claim.facts, error=repr(error))
            return Verdict.UNSETTLED

    def _settle(self, finishes: Sequence[Finish], patience: float, lock_patience: float) -> list[Verdict]:
        drop_dead_connections()
        settlement = store.settle(finishes, patience, lock_patience)
        verdicts = [_verdict(finish.claim.try_id, settlement) for finish in finishes]
        for finish, verdict in zip(finishes, verdicts, strict=True):
            if verdict is not Verdict.BLOCKED:
                _report(finish, is_ours=verdict is Verdict.SETTLED)
        publish_on_commit(settlement.doorbells)
        return verdicts


class SharedDelivery(Delivery):
    """For a process that serves many pushes at once: they are claimed, and their ends written, together.

    Their tasks run in the threads that ask; only the database is spared.
    """

    def __init__(self, current: Runtime, queue_name: str | None = None) -> None:
        super().__init__(current, queue_name)
        self._claimed = Shared(
            self._claim_each, most=_MOST_SHARED, name="i3tasks-claimer", unwanted=self._release_unwanted
        )
        self._settled = Shared(self._settle_free, most=_MOST_SHARED, name="i3tasks-settler")

    def deliver(self, envelope: Envelope) -> Verdict:
        """Claim, run and settle one try.

        Raises:
            OperationalError, InterfaceError: the database is away; the message was not consumed.
        """
        try:
            claim = self._claimed(envelope, _CLAIM_PATIENCE)
        except TimeoutError:
            raise OperationalError(f"the database has not answered for {_CLAIM_PATIENCE} s") from None
        if claim is None:
            return Verdict.NOTHING_TO_DO
        ran = self._run(claim)
        if isinstance(ran, Verdict):
            return ran
        # No timeout: what has run must be written, and that has its own patience.
        verdict = self._settled(ran, timeout=threading.TIMEOUT_MAX)
        return self._settle_waiting(ran) if verdict is Verdict.BLOCKED else verdict

    def _release_unwanted(self, claim: Claim | None) -> None:
        """Pub/Sub has been told to come again meanwhile."""
        if claim is None:
            return
        try:
            self.release([claim])
        except Exception as error:  # noqa: BLE001 - its lease runs out
            events.RELEASE_FAILED(queue=claim.queue_name, error=repr(error))

    def _claim_each(self, bells: list[Envelope]) -> list[Claim | None]:
        drop_dead_connections()
        try:
            claims = {claim.try_id: claim for claim in self._claim(bells)}
        finally:
            give_back_pooled_connections()
        return [claims.pop(bell.try_id, None) for bell in bells]  # of two that are the same, one


def rescue(try_ids: Sequence[int]) -> int:
    """Give up tries whose lease is over and ring for their successors.

    Returns:
        How many were lost after all.
    """
    settlement = store.rescue(try_ids) if try_ids else store.STALE
    for try_id in sorted(settlement.ours):
        events.TRY_LOST(try_id=try_id)
    publish_on_commit(settlement.doorbells)
    return len(settlement.ours)


def metadata_for(task: TaskDefinition, claim: Claim) -> TaskMetadata | None:
    """What a bound task is told of its run; the others do not ask."""
    if not task.bind:
        return None
    return TaskMetadata(
        id=claim.execution_id,
        try_id=claim.try_id,
        try_number=claim.try_number,
        max_retries=claim.max_retries,
        queue_name=claim.queue_name,
        task_path=claim.task_path,
        task_name=claim.task_name,
        asked_at=claim.asked_at,
        is_cancelled=lambda: _is_cancelled(claim.execution_id),
        lineage=Lineage(claim.execution_id),
    )


def _is_cancelled(execution_id: UUID) -> bool:
    return (
        TaskExecution.objects.using(alias())
        .filter(pk=execution_id, cancel_requested_at__isnull=False)
        .exists()
    )


def _verdict(try_id: int, settlement: Settlement) -> Verdict:
    if try_id in settlement.blocked:
        return Verdict.BLOCKED
    return Verdict.SETTLED if try_id in settlement.ours else Verdict.NOTHING_TO_DO


def _report(finish: Finish, *, is_ours: bool) -> None:
    facts, error, after = finish.claim.facts, finish.outcome.error, finish.outcome.retry_after
    seconds = round(finish.seconds, 6)
    if not is_ours:
        events.TRY_STALE(**facts)
    elif error is None:
        events.TRY_SUCCEEDED(**facts, seconds=seconds)
    elif after is None:
        events.TRY_FAILED(**facts, seconds=seconds, error_class=error.error_class)
    else:
        retry_after = round(after.total_seconds(), 3)
        events.TRY_RETRIED(**facts, seconds=seconds, error_class=error.error_class, retry_after=retry_after)
