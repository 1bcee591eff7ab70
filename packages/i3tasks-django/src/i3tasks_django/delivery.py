"""From a call to its end: message in → claim → run → settle → publish. Push and pull both come here."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from enum import Enum
from uuid import UUID

from django.db import connections, transaction

from i3tasks_core import events, outcome, registry, runner
from i3tasks_core.claim import Claim, TaskMetadata
from i3tasks_core.envelope import Envelope, decode
from i3tasks_core.errors import EnvelopeError
from i3tasks_core.outcome import Error, Outcome
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_core.registry import TaskDefinition
from i3tasks_core.states import TryState
from i3tasks_core.worker import Admission
from i3tasks_django import store
from i3tasks_django.lineage import Lineage
from i3tasks_django.models import TaskExecution
from i3tasks_django.publishing import publish_on_commit
from i3tasks_django.runtime import Runtime
from i3tasks_django.store import Settlement
from i3tasks_django.store.database import (
    alias,
    connection,
    discard_open_transactions,
    drop_dead_connections,
    is_overtaken,
)


class Verdict(Enum):
    """What became of a message's try."""

    SETTLED = "settled"
    NOTHING_TO_DO = "nothing to do"  # a duplicate, early, finished, unknown
    RELEASED = "released"
    UNSETTLED = "unsettled"  # it ran, but its end could not be written: the lease will run out


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
        return Admission(claims=self._claim(readable.values()), consumed=list(readable))

    def perform(self, claim: Claim) -> Verdict:
        """Run a claimed try and write its end. Raises nothing."""
        try:
            drop_dead_connections()
            return self._perform(claim)
        except Exception as error:  # noqa: BLE001 - the thread's next try must not suffer; the lease runs out
            events.TRY_UNSETTLED(**claim.facts, error=repr(error))
            return Verdict.UNSETTLED
        finally:
            self._runtime.heart.drop(claim)
            _give_back_pooled_connections()

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
        for claim in claims:
            self._runtime.heart.drop(claim)
            events.TRY_RELEASED(**claim.facts)
        store.release(claims)

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
            for try_id in store.expired(len(missed), among=sorted(missed)):
                rescue(try_id)
        except Exception as error:  # noqa: BLE001
            events.RESCUE_FAILED(error=repr(error))

    def _perform(self, claim: Claim) -> Verdict:
        task = registry.find(claim.task_path, claim.task_name)
        if task is None:
            return self._without_task(claim)
        events.TRY_STARTED(**claim.facts)
        began = time.monotonic()
        was_open = connection().in_atomic_block  # only inside a test's own transaction
        ended, settlement = self._run_atomic(claim, task) if task.atomic else self._run(claim, task)
        if settlement is None:
            if not was_open:
                discard_open_transactions()
            settlement = store.settle(claim, ended, self._runtime.patience)
        _report(claim, ended, settlement, time.monotonic() - began)
        publish_on_commit(settlement.doorbells)
        return Verdict.SETTLED if settlement.is_ours else Verdict.NOTHING_TO_DO

    def _run(self, claim: Claim, task: TaskDefinition) -> tuple[Outcome, Settlement | None]:
        """How it ended; the end is still to be written."""
        return runner.run(claim, task, metadata_of(claim)), None

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
            if ended.state is TryState.SUCCESS and store.was_settled(claim, ended):
                return ended, Settlement(is_ours=True)
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
                ended = runner.run(claim, task, metadata_of(claim))
                if len(connection().atomic_blocks) != depth:
                    # Its end would be a savepoint's and no commit.
                    ended = _left_open
                if ended.state is TryState.SUCCESS:
                    settlement = store.settle_within(claim, ended)
                if not settlement.is_ours:
                    raise _RolledBack  # noqa: TRY301 - it leaves the transaction, which is all it is for
        except _RolledBack:
            pass
        except Exception as error:  # noqa: BLE001 - also Django's about blocks that the task has left
            return ended, settlement, error
        return ended, settlement, None

    def _without_task(self, claim: Claim) -> Verdict:
        events.TRY_UNREGISTERED(**claim.facts)
        if claim.is_overdue:
            ended = outcome.unregistered(f"{claim.task_path}.{claim.task_name}")
            publish_on_commit(store.settle(claim, ended, self._runtime.patience).doorbells)
            return Verdict.SETTLED
        store.postpone_unregistered(claim)
        return Verdict.RELEASED


def rescue(try_id: int) -> bool:
    """Give up a try whose lease is over and ring for its successor; False when it was not lost after all."""
    settlement = store.rescue(try_id)
    if settlement.is_ours:
        events.TRY_LOST(try_id=try_id)
        publish_on_commit(settlement.doorbells)
    return settlement.is_ours


def metadata_of(claim: Claim) -> TaskMetadata:
    """What a bound task is told of its run."""
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


def _report(claim: Claim, ended: Outcome, settlement: Settlement, seconds: float) -> None:
    facts = claim.facts
    if not settlement.is_ours:
        events.TRY_STALE(**facts)
    elif ended.error is None:
        events.TRY_SUCCEEDED(**facts, seconds=round(seconds, 6))
    elif ended.retry_after is None:
        events.TRY_FAILED(**facts, seconds=round(seconds, 6), error_class=ended.error.error_class)
    else:
        events.TRY_RETRIED(
            **facts,
            seconds=round(seconds, 6),
            error_class=ended.error.error_class,
            retry_after=round(ended.retry_after.total_seconds(), 3),
        )


def _give_back_pooled_connections() -> None:
    """A pool is shared by the threads; other connections stay with theirs."""
    for current in connections.all(initialized_only=True):
        if current.settings_dict.get("OPTIONS", {}).get("pool") and not current.in_atomic_block:
            current.close()
