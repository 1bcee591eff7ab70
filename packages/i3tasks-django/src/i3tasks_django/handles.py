"""What a call gives back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from i3tasks_core.errors import ResultTimeout, TaskCancelled, TaskFailed
from i3tasks_core.states import ExecutionState

if TYPE_CHECKING:
    from i3tasks_django.models import TaskExecution

_POLL = (0.01, 0.5)


class ChainHandle:
    """A recorded call: ask how it is, wait for its result, cancel it.

    Attributes:
        id: the execution's public id, for a URL or for a later ``ChainHandle(id)``.
    """

    def __init__(self, execution_id: UUID) -> None:
        self.id = execution_id
        self._execution: TaskExecution | None = None

    def __repr__(self) -> str:
        return f"<call {self.id}>"

    @property
    def state(self) -> ExecutionState:
        """The state as last read; the first look reads it."""
        return ExecutionState(self._row().state)

    def refresh(self) -> ChainHandle:
        """Read the state anew.

        Raises:
            TaskExecution.DoesNotExist: the call was rolled back, or cleaned up.
        """
        from i3tasks_django.models import TaskExecution
        from i3tasks_django.store.database import alias

        self._execution = TaskExecution.objects.using(alias()).get(pk=self.id)
        return self

    def result(self, timeout: timedelta | float | None = None) -> Any:
        """Wait for the end and give back the task's return value, as JSON made it.

        Args:
            timeout: a ``timedelta`` or seconds; None waits for as long as it takes, 0 does not wait.

        Raises:
            TaskFailed: it failed for good; carries the last try's error and traceback.
            TaskCancelled: it was cancelled.
            ResultTimeout: it has not ended yet. It goes on.
            RuntimeError: asked inside an open transaction, where the call is not yet visible to anybody.
        """
        from i3tasks_django.store.database import connection

        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = _POLL[0]
        while self.refresh().state is ExecutionState.PENDING:
            left = float("inf") if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise ResultTimeout(f"{self!r} has not ended within {seconds:g} s; it goes on")
            if connection().in_atomic_block:
                raise RuntimeError(
                    "result() inside transaction.atomic() would wait for ever: nobody sees the call before "
                    "the commit. Ask after the block"
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _POLL[1])
        return self._outcome()

    def cancel(self) -> bool:
        """Cancel the call if it has not started; tell it, if it has.

        Returns:
            True when it will not run (again). False when it is running (the task may look at
            ``task_metadata.is_cancelled()``; no further try follows) or has already ended.
        """
        from i3tasks_django import store

        self._execution = None
        return store.cancel(self.id)

    def _row(self) -> TaskExecution:
        if self._execution is None:
            self.refresh()
        assert self._execution is not None
        return self._execution

    def _outcome(self) -> Any:
        if self.state is ExecutionState.CANCELLED:
            raise TaskCancelled(f"{self!r} was cancelled")
        last = self._row().tries.order_by("try_number").select_related("result").last()
        if self.state is ExecutionState.FAILED:
            error = (last.error_class, last.error_message, last.traceback) if last else ("", "", "")
            raise TaskFailed(*error)
        return last.result.result if last is not None and hasattr(last, "result") else None
