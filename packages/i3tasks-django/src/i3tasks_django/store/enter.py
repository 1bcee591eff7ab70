"""ENTER: a group takes further members, never more than it was made for."""

from __future__ import annotations

from uuid import UUID

from i3tasks_core.errors import GroupError
from i3tasks_django.models import TaskGroup
from i3tasks_django.store.database import alias, dialect, rows


def enter(group_id: UUID, count: int) -> int:
    """Count members that the caller writes in the same transaction.

    Returns:
        The first one's number in the group, from 0.

    Raises:
        GroupError: the group has no room for so many, was cancelled, or does not exist.
    """
    found = rows(_SQL, [count, dialect().uuid(group_id), count])
    if not found:
        raise GroupError(_refusal(group_id, count))
    first: int = found[0][0] - count
    return first


def _refusal(group_id: UUID, count: int) -> str:
    group = TaskGroup.objects.using(alias()).filter(pk=group_id).first()
    if group is None:
        return f"__i3group__={group_id}: there is no such group: it was rolled back, or cleaned up"
    if group.cancel_requested_at is not None:
        return f"__i3group__={group_id}: the group was cancelled and takes no further members"
    more = "one more" if count == 1 else f"{count:,} more"
    return (
        f"__i3group__={group_id}: the group was made for total_count={group.total_count:,} members and has "
        f"{group.member_count:,}; it cannot take {more}: make it with a larger total_count"
    )


_SQL = """
UPDATE i3tasks_django_taskgroup SET member_count = member_count + %s
WHERE id = %s AND member_count + %s <= total_count AND cancel_requested_at IS NULL
RETURNING member_count
"""
