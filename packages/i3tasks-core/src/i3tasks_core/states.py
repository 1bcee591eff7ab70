"""The words for where a try, an execution and a group stand, and which step may follow which."""

from __future__ import annotations

from enum import StrEnum


class TryState(StrEnum):
    """Where one attempt to run a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


class ExecutionState(StrEnum):
    """Where a call stands: pending until its last try has ended."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class GroupState(StrEnum):
    """Where a group stands: failed at the first member that fails for good."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({TryState.PENDING, TryState.RUNNING})

TRY_TRANSITIONS: dict[TryState, frozenset[TryState]] = {
    TryState.PENDING: frozenset({TryState.RUNNING, TryState.CANCELLED}),
    # Back to pending is RELEASE: claimed, never started, not counted.
    TryState.RUNNING: frozenset(
        {TryState.SUCCESS, TryState.FAILED, TryState.LOST, TryState.CANCELLED, TryState.PENDING}
    ),
    TryState.SUCCESS: frozenset(),
    TryState.FAILED: frozenset(),
    TryState.LOST: frozenset(),
    TryState.CANCELLED: frozenset(),
}

EXECUTION_TRANSITIONS: dict[ExecutionState, frozenset[ExecutionState]] = {
    ExecutionState.PENDING: frozenset(
        {ExecutionState.SUCCESS, ExecutionState.FAILED, ExecutionState.CANCELLED}
    ),
    ExecutionState.SUCCESS: frozenset(),
    # A person may ask for one more try in the admin.
    ExecutionState.FAILED: frozenset({ExecutionState.PENDING}),
    ExecutionState.CANCELLED: frozenset({ExecutionState.PENDING}),
}

GROUP_TRANSITIONS: dict[GroupState, frozenset[GroupState]] = {
    GroupState.PENDING: frozenset({GroupState.SUCCESS, GroupState.FAILED, GroupState.CANCELLED}),
    GroupState.SUCCESS: frozenset(),
    GroupState.FAILED: frozenset(),
    GroupState.CANCELLED: frozenset(),
}
