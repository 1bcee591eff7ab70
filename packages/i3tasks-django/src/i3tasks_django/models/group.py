"""Calls that are waited for together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models.functions import Now

from i3tasks_core.identifiers import uuid7
from i3tasks_core.states import GroupState
from i3tasks_django.models.stage import Stage

if TYPE_CHECKING:
    from i3tasks_django.composition import Composable
    from i3tasks_django.lineage import Failure
    from i3tasks_django.store import Cancellation


class TaskGroup(Stage):
    """Members are counted as they end; the last one brings the callback, which is the head of ``chain``.

    ``member_count`` are those that exist, ``completed_count`` and ``failed_count`` those that have ended
    (cancelled ones count as failed). ``status`` turns failed at the first failure; ``finished_at`` is set
    when the last member has ended.
    """

    STATUS_PENDING: ClassVar[str] = GroupState.PENDING.value
    STATUS_SUCCESS: ClassVar[str] = GroupState.SUCCESS.value
    STATUS_FAILED: ClassVar[str] = GroupState.FAILED.value
    STATUS_CANCELLED: ClassVar[str] = GroupState.CANCELLED.value

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    status = models.CharField(
        max_length=16, default=GroupState.PENDING.value, choices=[(s.value, s.value) for s in GroupState]
    )
    total_count = models.PositiveIntegerField()
    member_count = models.PositiveIntegerField(default=0)
    completed_count = models.PositiveIntegerField(default=0)
    failed_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)

    refused: tuple[str, ...] = ()

    objects: ClassVar[models.Manager[TaskGroup]] = models.Manager()

    class Meta(Stage.Meta):
        verbose_name = "task group"

    def __str__(self) -> str:
        return f"group {self.pk}"

    @classmethod
    def create(
        cls,
        callback: Composable | None = None,
        total_count: int | None = None,
        *,
        on_failure: Composable | None = None,
    ) -> TaskGroup:
        """Make a group whose members are called one by one: ``item.delay(…, __i3group__=group)``.

        Args:
            callback: a task, a signature, a chain or a group; runs once, after all members succeeded.
            total_count: how many members there will be; 0 fires the callback at once.
            on_failure: the same; runs once, after the last member has ended, when one of them failed.

        Raises:
            ValueError: ``total_count`` is not a whole number from 0 up.
            TypeError: ``callback`` or ``on_failure`` cannot be a step.
        """
        from i3tasks_django.composition import create_group

        return create_group(callback, total_count, on_failure)

    @classmethod
    def dispatch(
        cls,
        signatures: Iterable[Composable],
        *,
        callback: Composable | None = None,
        on_failure: Composable | None = None,
    ) -> TaskGroup:
        """Make a group and call all its members, in one transaction.

        Args:
            signatures: the members: tasks, signatures (``item.s(1)``), chains or groups.
            callback: runs once, after all members succeeded.
            on_failure: runs once, after the last member has ended, when one of them failed.

        Raises:
            TypeError: something that cannot be a member or a step; nothing is written.
            UnknownQueue: a task's queue is not in the settings; nothing is written.
        """
        from i3tasks_django.composition import dispatch_group

        return dispatch_group(signatures, callback, on_failure)

    def then(self, step: Composable, /, *args: Any, **kwargs: Any) -> TaskGroup:
        """Add a step that runs after everything that already follows this group, also when that has ended.

        Args:
            step: a task; or a signature, a chain or a group.
            args: the task's positional arguments.
            kwargs: its keyword arguments.

        Raises:
            TaskGroup.DoesNotExist: the group was rolled back, or cleaned up.
            TypeError, UnknownQueue: as at the call of the step; nothing is written.

        Returns:
            The group; its ``refused`` names the step if it will not run, because the group or a step after
            it has failed or was cancelled.
        """
        from i3tasks_django.composition import then_group

        self.refused += then_group(self, step, args, kwargs)
        return self

    def cancel(self) -> Cancellation:
        """Cancel the members that have not started and everything that would follow them or the group.

        Returns:
            What will not run, and what could not be stopped; false while something still runs.
        """
        from i3tasks_django.calling import cancel

        return cancel(groups=[self.pk])

    def results(self) -> list[Any]:
        """What the members gave back, in their order; None for one that has not succeeded.

        A member that is a chain gives its last step's result, one that is a group the list of its own.
        """
        from i3tasks_django.lineage import results

        return results(self)

    def failures(self) -> list[Failure]:
        """The calls that failed or were cancelled, with their errors, in the order of the calls."""
        from i3tasks_django.lineage import failures

        return failures(self)

    def wait(self, timeout: timedelta | float | None = None) -> TaskGroup:
        """Wait until all members have ended; the counts and the status are then up to date.

        Args:
            timeout: a ``timedelta`` or seconds; None waits for as long as it takes, 0 does not wait.

        Raises:
            ResultTimeout: they have not. They go on.
            RuntimeError: asked inside an open transaction, where the members are not yet visible to anybody.
        """
        from i3tasks_django.waiting import wait_for

        wait_for(self._has_finished, timeout, str(self))
        return self

    def _has_finished(self) -> bool:
        self.refresh_from_db()
        return self.finished_at is not None
