"""FLOW: what follows when executions and groups end, gathered first and then written in the order of locks.

Executions are ended by now, so groups come next, inner ones before outer ones, and new rows last. A
continuation is data: nothing in here calls anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from django.db.models.functions import Now

from i3tasks_core import steps
from i3tasks_core.envelope import Envelope
from i3tasks_core.identifiers import uuid7
from i3tasks_core.states import GroupState
from i3tasks_core.steps import Call, Fan, Join, Member, Steps
from i3tasks_django.models import TaskGroup
from i3tasks_django.store.database import alias, as_json, dialect, rows
from i3tasks_django.store.enter import enter
from i3tasks_django.store.insert import NewExecution, Origin, insert, insert_alike

NOWHERE = Origin()


class Flow:
    """Gathers what follows; ``write`` writes it, inside the caller's transaction."""

    def __init__(self) -> None:
        self._executions: list[NewExecution] = []
        self._alike: list[tuple[NewExecution, Sequence[tuple[str, str]]]] = []
        self._groups: list[TaskGroup] = []
        self._empty: list[tuple[Steps, Origin]] = []
        self._completed: Counter[UUID] = Counter()
        self._failed: Counter[UUID] = Counter()

    def go_on(self, chain: Steps, origin: Origin = NOWHERE) -> NewExecution | TaskGroup | None:
        """All went well so far: take the next step.

        Returns:
            What the next step begins with; None when the chain has come to its end.
        """
        head, rest = self._count_joins(chain)
        if isinstance(head, Call):
            return self._call(head, rest, origin)
        if isinstance(head, Fan):
            return self._open(head, rest, origin)
        return None

    def follow(self, chain: Steps, origin: Origin, *, is_success: bool, is_cancelled: bool) -> None:
        """An execution or a group has ended: what that means for the chain behind it.

        Args:
            chain: the steps that were to come.
            origin: what has ended.
            is_success: how.
            is_cancelled: somebody has asked that nothing follows.
        """
        if is_success and not is_cancelled:
            self.go_on(chain, origin)
        elif is_success:
            self.end(chain)
        elif is_cancelled:
            self.cancel(chain)
        else:
            self.fail(chain, origin)

    def fail(self, chain: Steps, origin: Origin) -> None:
        """What came before has failed: tell those who listen."""
        for listener in steps.listeners(chain):
            if isinstance(listener, Join):
                self._failed[listener.group_id] += 1
            else:
                self.go_on(listener.steps, replace(origin, after_failure=True))

    def cancel(self, chain: Steps) -> None:
        """What came before was cancelled: only the groups are told."""
        for listener in steps.listeners(chain):
            if isinstance(listener, Join):
                self._failed[listener.group_id] += 1

    def end(self, chain: Steps) -> None:
        """All went well so far, but somebody has cancelled the rest."""
        head, rest = self._count_joins(chain)
        if head is not None:
            self.cancel(rest)

    def miss(self, group_id: UUID, count: int) -> None:
        """So many members of a cancelled group were never called, and will not be."""
        if count:
            self._failed[group_id] += count

    def open_group(self, chain: Steps, total_count: int) -> TaskGroup:
        """A group whose members are still to be called."""
        return self._add_group(chain, NOWHERE, total_count)

    def enter(self, member: Member, group_id: UUID | None) -> NewExecution | TaskGroup:
        """What somebody calls: on its own, or as a further member of a group.

        Returns:
            What it begins with.

        Raises:
            GroupError: the group takes no further member.
        """
        first = self.go_on(_as_member(member, group_id))
        assert first is not None  # a member has at least one step
        return first

    def take(self, member: Member, group_id: UUID | None) -> NewExecution:
        """The same for one call that the caller writes and runs himself."""
        first = self.enter(member, group_id)
        assert isinstance(first, NewExecution)
        self._executions.remove(first)
        return first

    def repeat(self, member: Member, arguments: Sequence[tuple[str, str]]) -> None:
        """What somebody calls often, each time with other arguments: JSON, by their places and by name."""
        self._alike.append((self.take(member, None), arguments))

    def write(self) -> tuple[Envelope, ...]:
        """Write everything.

        Returns:
            The doorbells to ring after the commit.
        """
        while self._groups or self._completed or self._failed:
            groups, self._groups = self._groups, []
            TaskGroup.objects.using(alias()).bulk_create(groups)
            passed, self._empty = self._empty, []
            for chain, origin in passed:
                self.go_on(chain, origin)
            if waiting := self._completed.keys() | self._failed.keys():
                # The newest first: a group is made after the one it is a member of.
                self._count(max(waiting))
        executions, self._executions = self._executions, []
        alike, self._alike = self._alike, []
        doorbells = insert(executions)
        for pattern, arguments in alike:
            doorbells += insert_alike(pattern, arguments)
        return tuple(doorbells)

    def _count_joins(self, chain: Steps) -> tuple[Call | Fan | None, Steps]:
        head, rest = steps.next_of(chain)
        while isinstance(head, Join):
            self._completed[head.group_id] += 1
            head, rest = steps.next_of(rest)
        return head, rest

    def _call(self, call: Call, rest: Steps, origin: Origin) -> NewExecution:
        join, is_last = steps.membership(rest)
        new = NewExecution(
            id=uuid7(),
            call=call,
            chain=steps.dump(rest),
            origin=origin,
            task_group=join.group_id if join else None,
            member_number=join.member_number if join and is_last else None,
        )
        self._executions.append(new)
        return new

    def _open(self, fan: Fan, rest: Steps, origin: Origin) -> TaskGroup:
        group = self._add_group(rest, origin, len(fan.members))
        group.member_count = len(fan.members)
        for number, member in enumerate(fan.members):
            self.go_on(_joining(member, group.pk, number))
        return group

    def _add_group(self, chain: Steps, origin: Origin, total_count: int) -> TaskGroup:
        join, is_last = steps.membership(chain)
        group = TaskGroup(
            id=uuid7(),
            chain=steps.dump(chain),
            total_count=total_count,
            chained_from_id=origin.chained_from,
            joins_group_id=origin.joins_group,
            after_failure=origin.after_failure,
            task_group_id=join.group_id if join else None,
            member_number=join.member_number if join and is_last else None,
        )
        self._groups.append(group)
        if total_count == 0:
            group.status, group.finished_at = GroupState.SUCCESS, Now()
            self._empty.append((chain, Origin(joins_group=group.pk)))
        return group

    def _count(self, group_id: UUID) -> None:
        completed, failed = self._completed.pop(group_id, 0), self._failed.pop(group_id, 0)
        words = dialect()
        sql = _COUNT.format(completed=completed, failed=failed, now=words.now)
        for status, is_full, is_cancelled, chain in rows(sql, [words.uuid(group_id)]):
            if is_full:
                self.follow(
                    steps.load(as_json(chain)),
                    Origin(joins_group=group_id),
                    is_success=status == GroupState.SUCCESS,
                    is_cancelled=bool(is_cancelled),
                )


def _joining(member: Member, group_id: UUID, number: int) -> Steps:
    """A member's steps with the group's count where it belongs."""
    return (*member.steps, Join(group_id=group_id, member_number=number), *member.then)


def _as_member(member: Member, group_id: UUID | None) -> Steps:
    if group_id is None:
        return (*member.steps, *member.then)
    return _joining(member, group_id, enter(group_id, 1))


# Counters, and only here: a group that looked for unfinished members would never fire (write skew).
_COUNT = """
UPDATE i3tasks_django_taskgroup SET
    completed_count = completed_count + {completed:d},
    failed_count = failed_count + {failed:d},
    status = CASE
        WHEN status <> 'pending' THEN status
        WHEN failed_count + {failed:d} > 0 AND cancel_requested_at IS NULL THEN 'failed'
        WHEN completed_count + failed_count + {completed:d} + {failed:d} < total_count THEN status
        WHEN failed_count + {failed:d} = 0 THEN 'success'
        ELSE 'cancelled' END,
    finished_at = CASE
        WHEN completed_count + failed_count + {completed:d} + {failed:d} >= total_count THEN {now} END
WHERE id = %s
RETURNING status, finished_at, cancel_requested_at, chain
"""
