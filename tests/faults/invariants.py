"""What holds whatever happened: what the database says in the end, compared with what really ran.

I1 every call has ended · I2 one success an execution · I4 each chain step once, in order · I5 each group
joined once, after its last member · I7 nothing runs, no transaction is left open · I8 no more tries than
allowed · I9 no more runs than calls and what the killed held. (I3, that nothing ran which was never
committed, is seen by comparing the calls with what a test has committed.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from uuid import UUID

from django.db import connection
from oracle import Runs

from i3tasks_core.steps import load, next_of
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from waiting import wait_until


class Rows:
    """The tables as they are in the end, each read once.

    Attributes:
        tries: by execution, in order.
        after: what was called because an execution or a group ended.
        members: by group.
    """

    def __init__(self) -> None:
        self.executions: dict[UUID, TaskExecution] = {
            row.pk: row for row in TaskExecution.objects.order_by("pk")
        }
        self.groups = list(TaskGroup.objects.order_by("pk"))
        self.tries: dict[UUID, list[TaskExecutionTry]] = defaultdict(list)
        self.after: dict[UUID | None, list[TaskExecution]] = defaultdict(list)
        self.members: dict[UUID | None, list[TaskExecution]] = defaultdict(list)
        for row in self.executions.values():
            self.after[row.chained_from_id or row.joins_group_id].append(row)
            self.members[row.task_group_id].append(row)
        for attempt in TaskExecutionTry.objects.order_by("task_execution", "try_number"):
            self.tries[attempt.task_execution_id].append(attempt)

    def last_try(self, execution: TaskExecution) -> TaskExecutionTry:
        return self.tries[execution.pk][-1]


def check(rows: Rows, runs: Runs, *, most_lost: int, may_fail: bool = False) -> None:
    """All of them.

    Args:
        rows: the database in the end.
        runs: what the oracle saw.
        most_lost: how many tries the faults may have broken off.
        may_fail: whether they also make tries fail, which then run again.
    """
    every_call_has_ended(rows)
    each_execution_succeeded_once_or_never(rows, runs)
    each_step_came_once_and_in_order(rows, runs)
    each_group_was_joined_once_after_its_last_member(rows, runs)
    counters_are_exact(rows)
    nothing_runs_any_more(rows)
    tries_stayed_within_what_was_allowed(rows)
    nothing_ran_more_often_than_the_faults_explain(rows, runs, most_lost, may_fail=may_fail)


def every_call_has_ended(rows: Rows) -> None:
    for execution in rows.executions.values():
        assert execution.state in ("success", "failed"), f"{execution} is {execution.state}"
        assert execution.finished_at is not None
    for group in rows.groups:
        assert group.status in ("success", "failed"), f"{group} is {group.status}"
        assert group.finished_at is not None


def each_execution_succeeded_once_or_never(rows: Rows, runs: Runs) -> None:
    for execution in rows.executions.values():
        states = [attempt.state for attempt in rows.tries[execution.pk]]
        assert states.count("success") == (execution.state == "success"), f"{execution}: {states}"
        assert set(states[:-1]) <= {"lost", "failed"}, f"{execution}: {states}"
        if execution.state == "success":
            runs.end_of(rows.last_try(execution).pk)


def each_step_came_once_and_in_order(rows: Rows, runs: Runs) -> None:
    for before, after in _follows(rows):
        assert before.state == ("failed" if after.after_failure else "success"), f"{after} after {before}"
        assert after.created_at >= before.finished_at
        if before.state == "success":
            assert runs.first_start[after.pk] > runs.end_of(rows.last_try(before).pk), f"{after} was early"
    for execution in rows.executions.values():
        steps = [row for row in rows.after[execution.pk] if not row.after_failure]
        head, _ = next_of(load([step for step in execution.chain if "join" not in step]))
        expected = 1 if head is not None and execution.state == "success" else 0
        assert len(steps) == expected, f"{execution} ({execution.state}) is followed by {steps}"


def each_group_was_joined_once_after_its_last_member(rows: Rows, runs: Runs) -> None:
    for group in rows.groups:
        members, joined = rows.members[group.pk], rows.after[group.pk]
        assert len(joined) == 1, f"{group} ({group.status}) was joined by {joined}"
        assert joined[0].after_failure is (group.status == "failed"), f"{group} ({group.status}): {joined}"
        last_at = max(member.finished_at for member in members)
        assert joined[0].created_at >= last_at, f"{group} was joined {last_at - joined[0].created_at} early"
        ends = [runs.end_of(rows.last_try(member).pk) for member in members if member.state == "success"]
        assert runs.first_start[joined[0].pk] > max(ends, default=-1), f"{group} was joined early"


def counters_are_exact(rows: Rows) -> None:
    for group in rows.groups:
        states = Counter(member.state for member in rows.members[group.pk])
        counted = (group.member_count, group.completed_count, group.failed_count)
        assert counted == (group.total_count, states["success"], states["failed"]), f"{group}: {states}"
        assert group.completed_count + group.failed_count == group.total_count
        assert (group.status == "failed") is bool(states["failed"])


def nothing_runs_any_more(rows: Rows) -> None:
    for attempts in rows.tries.values():
        for attempt in attempts:
            assert attempt.is_completed, f"{attempt} is {attempt.state}"
            assert attempt.lease_until is None
    # A session that a beat has open this very moment is none that was left.
    wait_until(lambda: not _open_transactions())


def tries_stayed_within_what_was_allowed(rows: Rows) -> None:
    for execution in rows.executions.values():
        numbers = [attempt.try_number for attempt in rows.tries[execution.pk]]
        assert numbers == list(range(1, len(numbers) + 1)), f"{execution}: {numbers}"
        assert len(numbers) <= execution.max_retries + 1, f"{execution} was tried {len(numbers)} times"


def nothing_ran_more_often_than_the_faults_explain(
    rows: Rows, runs: Runs, most_lost: int, *, may_fail: bool
) -> None:
    of_tries = Counter(line.try_id for line in runs.starts)
    assert not [try_id for try_id, count in of_tries.items() if count > 1], "one claim was run twice"
    known = {attempt.pk for attempts in rows.tries.values() for attempt in attempts}
    assert of_tries.keys() <= known, "something ran that is not in the database"
    broken_off = [line.try_id for line in runs.starts if not runs.has_ended(line.try_id)]
    assert len(broken_off) <= most_lost, f"{len(broken_off)} runs have no end"
    # A try may also be lost between its end and the transaction that would have told: its task runs again.
    again = {a.pk for attempts in rows.tries.values() for a in attempts if a.state == "lost"}
    if may_fail:
        again |= {a.pk for attempts in rows.tries.values() for a in attempts[:-1] if a.state == "failed"}
    repeated = len(runs.starts) - len(runs.first_start)
    assert repeated <= len(again & of_tries.keys()), f"{repeated} runs too many"


def _follows(rows: Rows) -> Iterator[tuple[TaskExecution, TaskExecution]]:
    for execution in rows.executions.values():
        if execution.chained_from_id is not None:
            yield rows.executions[execution.chained_from_id], execution


def _open_transactions() -> int:
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
        count: int = cursor.fetchone()[0]
        return count
