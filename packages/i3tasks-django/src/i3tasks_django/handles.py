"""What a call gives back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from i3tasks_core.errors import TaskCancelled, TaskFailed
from i3tasks_core.states import ExecutionState

if TYPE_CHECKING:
    from i3tasks_django.composition import Composable
    from i3tasks_django.models import TaskExecution
    from i3tasks_django.store import Cancellation


class ChainHandle:
    """A recorded call: ask how it is, wait for its result, cancel it.

    Attributes:
        id: the execution's public id, for a URL or for a later ``ChainHandle(id)``.
        refused: tasks that ``then()`` could not add, because the chain had ended badly.
    """

    def __init__(self, execution_id: UUID | str) -> None:
        self.id = execution_id if isinstance(execution_id, UUID) else UUID(execution_id)
        self.refused: tuple[str, ...] = ()
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

    def then(self, step: Composable, /, *args: Any, **kwargs: Any) -> ChainHandle:
        """Add a step that runs after everything that already follows this call, also when that has ended.

        Args:
            step: a task; or a signature, a chain or a group.
            args: the task's positional arguments.
            kwargs: its keyword arguments.

        Returns:
            The same handle; its ``refused`` names the step's tasks if they will not run, because the call or
            a step after it has failed or was cancelled.

        Raises:
            TypeError: not a step, or its arguments do not fit.
            UnknownQueue: the step's queue is not in the settings; nothing is written.
            TaskExecution.DoesNotExist: the call was rolled back, or cleaned up.
        """
        from i3tasks_django.calling import add_step
        from i3tasks_django.composition import as_step, steps_of
        from i3tasks_django.models import TaskExecution

        self.refused += add_step(TaskExecution, self.id, steps_of(as_step(step, args, kwargs)))
        return self

    def result(self, timeout: timedelta | float | None = None) -> Any:
        """Wait for the end of this call and give back the task's return value, as JSON made it.

        Args:
            timeout: a ``timedelta`` or seconds; None waits for as long as it takes, 0 does not wait.

        Raises:
            TaskFailed: it failed for good; carries the last try's error and traceback.
            TaskCancelled: it was cancelled.
            ResultTimeout: it has not ended yet. It goes on.
            RuntimeError: asked inside an open transaction, where the call is not yet visible to anybody.
        """
        from i3tasks_django.waiting import wait_for

        wait_for(lambda: self.refresh().state is not ExecutionState.PENDING, timeout, repr(self))
        return self._outcome()

    def status_url(self) -> str:
        """The path and query of this call's status page, good for a day and for nothing but this call.

        Raises:
            NoReverseMatch: the project's URLs do not include ``i3tasks_django.urls``.
        """
        from i3tasks_django.status_link import status_url

        return status_url(self.id)

    def cancel(self) -> Cancellation:
        """Cancel the call and everything that would follow it.

        Returns:
            What will not run, and what could not be stopped because it is running (the task may look at
            ``task_metadata.is_cancelled()``; nothing follows it). True when something was stopped and
            nothing runs on.
        """
        from i3tasks_django.calling import cancel

        self._execution = None
        return cancel(executions=[self.id])

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
