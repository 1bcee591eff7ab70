"""From a call to rows and doorbells; with ``force_sync`` to its end, here and now."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db import Error as DatabaseError
from django.db import transaction

from i3tasks_core import events, outcome, registry, runner
from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.errors import ArgumentError, GroupError, LeaseLost
from i3tasks_core.finish import Finish
from i3tasks_core.outcome import Outcome
from i3tasks_core.registry import TaskDefinition
from i3tasks_core.states import TryState
from i3tasks_core.steps import Call, Member, Steps, call_names, dump, hurried
from i3tasks_django import store
from i3tasks_django.delivery import metadata_for
from i3tasks_django.handles import ChainHandle
from i3tasks_django.models import TaskGroup
from i3tasks_django.ringing import publish_on_commit
from i3tasks_django.runtime import runtime
from i3tasks_django.store import Cancellation, Flow, NewExecution, Settlement
from i3tasks_django.store.database import alias, connection, once_more_if_overtaken
from i3tasks_django.store.then import Stage

T = TypeVar("T")

BATCH = 1_000
"""Calls that ``delay_many`` writes in one transaction and rings for in one message batch."""

MAX_COMPOSITION = 64 * 1024 * 1024


def dispatch(member: Member, group: Any) -> ChainHandle | TaskGroup:
    """Record calls, and ring when they are committed; with ``force_sync`` run them instead.

    Args:
        member: what to call first, and what is to follow.
        group: the ``TaskGroup`` that takes it as a member, or None.

    Returns:
        A handle on the first call, or the group that it begins with.

    Raises:
        TypeError: ``group`` is not a group.
        ArgumentError: all of it together takes more than 64 MiB.
        GroupError: the group takes no further member.
    """
    group_id = _group_id(group)
    _check_size(member)
    is_one_call = group_id is None and isinstance(member.steps[0], Call)
    first = _write(lambda flow: flow.enter(_hurried_if_here(member), group_id), is_one_call=is_one_call)
    if not isinstance(first, TaskGroup):
        return ChainHandle(first.id)
    first.refresh_from_db()  # it may have ended by now, when it is empty or runs here
    return first


def call_many(member: Member, arguments: Iterable[tuple[str, str]]) -> int:
    """The same for one call with very many arguments: a transaction for each thousand, the others unread.

    Args:
        member: the call, whatever its arguments, and what is to follow.
        arguments: those of each, by their places and by name, as JSON.

    Returns:
        How many they were.
    """
    count = 0
    waiting = iter(arguments)
    while batch := list(islice(waiting, BATCH)):
        _write(partial(Flow.repeat, member=_hurried_if_here(member), arguments=batch))
        count += len(batch)
    return count


def open_group(chain: Steps, total_count: int) -> TaskGroup:
    """Record a group whose members are still to be called."""
    member = Member(steps=chain)
    _check_size(member)
    group = _write(lambda flow: flow.open_group(_hurried_if_here(member).steps, total_count))
    if total_count == 0:
        group.refresh_from_db()
    return group


def add_step(stage: Stage, pk: UUID, chain: Steps) -> tuple[str, ...]:
    """Add steps behind everything that follows an execution or a group.

    Returns:
        The tasks that will not run, because something before them failed or was cancelled.
    """
    member = Member(steps=chain)
    _check_size(member)
    is_taken = _write(lambda flow: store.then(stage, pk, _hurried_if_here(member).steps, flow))
    if is_taken:
        return ()
    refused = tuple(call_names(chain))
    events.STEP_REFUSED(of=pk, tasks=", ".join(refused))
    return refused


def cancel(*, executions: Iterable[UUID] = (), groups: Iterable[UUID] = ()) -> Cancellation:
    """Cancel with everything that follows; see ``store.cancel``."""
    done, doorbells = store.cancel(executions=executions, groups=groups)
    _ring(doorbells)
    return done


def call_now(task: TaskDefinition, member: Member, group: Any) -> Any:
    """Run a call in this thread and record it; one try, and its exceptions are the caller's.

    Steps that follow it are calls like any other.

    Returns:
        The function's return value.
    """
    group_id = _group_id(group)
    current = runtime()

    def begin(flow: Flow) -> Claim:
        new = flow.take(_hurried_if_here(member), group_id)
        return store.create_running(_with_one_try(new), current.config.lease, current.worker_name)

    ran = _run(_write(begin), task)
    try:
        _ring(ran.doorbells)
    finally:
        if ran.error is not None:
            raise ran.error
    return ran.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What a run in this thread came to; it is recorded."""

    value: Any = None
    error: BaseException | None = None
    doorbells: tuple[Envelope, ...] = ()


def _write(gather: Callable[[Flow], T], *, is_one_call: bool = False) -> T:
    """Write what is gathered in one transaction, and ring for it when that commits.

    Args:
        gather: says what to write.
        is_one_call: it comes to one execution and its try, and reads nothing.
    """

    def write() -> tuple[T | None, Exception | None, tuple[Envelope, ...]]:
        with nullcontext() if is_one_statement else transaction.atomic(using=alias(), savepoint=False):
            flow = Flow()
            try:
                gathered = gather(flow)
            except (GroupError, ObjectDoesNotExist) as refusal:
                # Nothing is written yet: the caller's transaction may go on.
                return None, refusal, ()
            doorbells = flow.write()
            if not is_here:
                publish_on_commit(doorbells)
            return gathered, None, doorbells

    is_here = runtime().config.force_sync
    # Such a statement commits by itself, and spares the round trips of BEGIN and COMMIT.
    is_one_statement = is_one_call and connection().vendor == "postgresql" and connection().get_autocommit()
    gathered, refusal, doorbells = once_more_if_overtaken(write)
    if refusal is not None:
        raise refusal
    if is_here:
        _run_all(doorbells)
    return gathered  # type: ignore[return-value]


def _ring(doorbells: tuple[Envelope, ...]) -> None:
    if not doorbells:
        return
    if runtime().config.force_sync:
        _run_all(doorbells)
    else:
        publish_on_commit(doorbells)


def _run_all(doorbells: Iterable[Envelope]) -> None:
    """Run what these ring for and everything that follows from it, then raise the first of the errors."""
    waiting = deque(doorbells)
    error: BaseException | None = None
    while waiting:
        for claim in _claimed(waiting.popleft(), error):
            ran = _run(claim, registry.find(claim.task_path, claim.task_name))
            waiting.extend(ran.doorbells)
            error = error or ran.error
            if error is not None and not isinstance(error, Exception):
                raise error  # Ctrl+C and the like
    if error is not None:
        raise error


def _claimed(bell: Envelope, error: BaseException | None) -> list[Claim]:
    """Its claim; after an error that has broken the caller's transaction there is none, but that error."""
    current = runtime()
    try:
        return store.claim([bell], lease=current.config.lease, worker=current.worker_name)
    except Exception:
        if error is not None:
            raise error from None
        raise


def _run(claim: Claim, task: TaskDefinition | None) -> _Ran:
    current = runtime()
    if task is None:
        missing = outcome.unregistered(f"{claim.task_path}.{claim.task_name}")
        return _Ran(doorbells=_record(claim, missing))
    # Inside the caller's transaction nobody sees the row, so there is no lease to keep.
    shared = not connection().in_atomic_block
    with current.heart.holding(claim) if shared else nullcontext():
        try:
            value, settlement = _call_atomic(claim, task) if task.atomic else (_call(claim, task), None)
        except BaseException as error:  # noqa: BLE001 - the caller gets it when it is recorded
            ended = runner.after_error(error, _last_try(claim), task)
            return _Ran(error=error, doorbells=_record_failure(claim, ended))
        if settlement is None:
            return _Ran(value=value, doorbells=_record(claim, runner.after_return(value)))
        return _Ran(value=value, doorbells=settlement.doorbells)


def _call(claim: Claim, task: TaskDefinition) -> Any:
    return runner.call(task, metadata_for(task, claim), claim.args, claim.kwargs)


def _call_atomic(claim: Claim, task: TaskDefinition) -> tuple[Any, Settlement | None]:
    """The function's value, with its success recorded in the body's own transaction; or not yet recorded."""
    with transaction.atomic(using=alias()):
        value = _call(claim, task)
        ended = runner.after_return(value)
        if ended.state is not TryState.SUCCESS:
            transaction.set_rollback(True, using=alias())
            return value, None
        settlement = store.settle_within([Finish(claim, ended)])
        if not settlement.is_ours:
            raise LeaseLost
    return value, settlement


def _record_failure(claim: Claim, ended: Outcome) -> tuple[Envelope, ...]:
    """The task's own exception is what the caller must see, whatever else goes wrong."""
    try:
        return _record(claim, ended)
    except DatabaseError as error:
        events.TRY_UNSETTLED(**claim.facts, error=repr(error))
        return ()


def _record(claim: Claim, ended: Outcome) -> tuple[Envelope, ...]:
    if not connection().in_atomic_block:
        return store.settle([Finish(claim, ended)], runtime().patience).doorbells
    if connection().needs_rollback:
        return ()  # the record goes the way of the caller's transaction
    return store.settle_within([Finish(claim, ended)]).doorbells


def _hurried_if_here(member: Member) -> Member:
    if not runtime().config.force_sync:
        return member
    return Member(steps=hurried(member.steps), then=hurried(member.then))


def _with_one_try(new: NewExecution) -> NewExecution:
    """A call that runs here is over when it ends: nobody runs it a second time elsewhere."""
    return replace(new, call=replace(new.call, max_retries=0, run_after=None))


def _last_try(claim: Claim) -> Claim:
    return replace(claim, max_retries=0)


def _group_id(group: Any) -> UUID | None:
    if group is None:
        return None
    if not isinstance(group, TaskGroup):
        raise TypeError(f"__i3group__={group!r}: pass the TaskGroup that TaskGroup.create() gave")
    return group.pk


def _check_size(member: Member) -> None:
    """One call alone has been checked; many of them are one row's value, until their turn comes."""
    everything = (*member.steps, *member.then)
    if len(everything) == 1 and isinstance(everything[0], Call) and not everything[0].on_failure:
        return
    if (size := len(json.dumps(dump(everything)))) > MAX_COMPOSITION:
        raise ArgumentError(
            "the chain or group",
            f"takes {size:,} bytes as JSON; at most {MAX_COMPOSITION:,}: store the data and pass its keys",
        )
