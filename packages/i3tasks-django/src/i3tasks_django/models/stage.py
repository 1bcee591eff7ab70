"""What executions and groups share: what came before them, and what is still to come."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Stage(models.Model):
    """A place in a chain, taken by one call or by a group of them.

    ``chain`` lists the steps still to come (see ``i3tasks_core.steps``). ``chained_from`` or ``joins_group``
    names what ended before; each has at most one successor, and beside it, ``after_failure``, those that hear
    that it failed. ``task_group`` waits for this place; ``member_number`` is set where it waits for nothing
    after it.
    """

    chain = models.JSONField(default=list)
    chained_from = models.ForeignKey(
        "i3tasks_django.TaskExecution", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    joins_group = models.ForeignKey(
        "i3tasks_django.TaskGroup", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    after_failure = models.BooleanField(default=False)
    task_group = models.ForeignKey(
        "i3tasks_django.TaskGroup",
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    member_number = models.PositiveIntegerField(null=True)

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(
                fields=["chained_from"],
                condition=Q(chained_from__isnull=False, after_failure=False),
                name="i3tasks_%(class)s_next",
            ),
            models.UniqueConstraint(
                fields=["joins_group"],
                condition=Q(joins_group__isnull=False, after_failure=False),
                name="i3tasks_%(class)s_join",
            ),
        ]
        # Most calls stand alone and have no place in these.
        indexes = [
            models.Index(
                fields=["chained_from"],
                condition=Q(chained_from__isnull=False),
                name="i3tasks_%(class)s_after",
            ),
            models.Index(
                fields=["joins_group"],
                condition=Q(joins_group__isnull=False),
                name="i3tasks_%(class)s_joined",
            ),
            models.Index(
                fields=["task_group"], condition=Q(task_group__isnull=False), name="i3tasks_%(class)s_group"
            ),
        ]
