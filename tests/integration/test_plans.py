"""What PostgreSQL's planner makes of the statements that name their tries, beside a long history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

import databases
import messages
from i3tasks_core import outcome
from i3tasks_core.finish import Finish
from i3tasks_django import store
from i3tasks_django.models import TaskExecutionTry
from project import tasks

pytestmark = pytest.mark.usefixtures("on_postgres", "silent_pubsub")

HISTORY = (
    """
    INSERT INTO i3tasks_django_taskexecution
        (id, task_path, task_name, task_args, task_kwargs, queue_name, state, max_retries, chain,
         after_failure, created_at, finished_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'project.tasks', 'add', '[]', '{}', 'default', 'success',
        3, '[]', false, now(), now()
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO i3tasks_django_taskexecutiontry
        (task_execution_id, try_number, state, asked_at, next_publish_at, publish_count, started_at,
         finished_at, fence, worker, error_class, error_message, traceback)
    SELECT id, 1, 'success', now(), now(), 1, now(), now(), 1, 'w', '', '', ''
    FROM i3tasks_django_taskexecution
    """,
    "ANALYZE i3tasks_django_taskexecution, i3tasks_django_taskexecutiontry",
)
OF_UNFINISHED = ("i3tasks_to_publish", "i3tasks_one_unfinished_try", "i3tasks_running")


@pytest.fixture
def on_postgres(postgres_session: databases.Database) -> Iterator[None]:
    with databases.current(postgres_session):
        with connection.cursor() as cursor:
            for statement in HISTORY:
                cursor.execute(statement)
        yield
        databases.clear()


@contextmanager
def plans() -> Iterator[list[str]]:
    """The plans of the tries' updates that run inside the block."""
    found: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "UPDATE i3tasks_django_taskexecutiontry" in sql:
            with context["connection"].connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}", params)
                found.append("\n".join(line for (line,) in cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield found


def test_a_few_tries_are_found_by_their_ids_and_not_by_reading_the_backlog():
    handles = [tasks.add.delay(number, 0) for number in range(4)]
    bells = [messages.envelope_of(handle) for handle in handles]

    with plans() as found:
        settled, released, *lost = store.claim(bells, lease=timedelta(seconds=60), worker="w")
        store.settle([Finish(settled, outcome.succeeded(None))], patience=1)
        store.release([released])
        TaskExecutionTry.objects.filter(state="running").update(lease_until=Now() - timedelta(seconds=1))
        store.rescue([claim.try_id for claim in lost])

    assert len(found) == 4, found
    for plan in found:
        assert not [index for index in OF_UNFINISHED if index in plan], plan
