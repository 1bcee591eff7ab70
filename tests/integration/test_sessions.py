"""A database session lasts from task to task, unless a task has changed it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import connection

import databases
import messages
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.runtime import runtime
from project import tasks
from project.misbehaving import execute, leave_behind, look

pytestmark = pytest.mark.usefixtures("silent_pubsub")


@pytest.mark.usefixtures("database")
def test_a_session_that_nobody_has_changed_is_kept():
    handles = [tasks.make_group.delay(name) for name in ("one", "two", "three")]
    messages.deliver(handles[0])
    session = connection.connection

    for handle in handles[1:]:
        assert messages.deliver(handle) is Verdict.SETTLED
        assert handle.result(timeout=0)
    assert connection.connection is session


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "is_kept"),
    [
        ("SELECT 'SET x'", True),
        ("SET LOCAL statement_timeout = 1000", True),
        ("set constraints all immediate", True),
        ("SELECT 1 /* the set_up */", True),
        ("  set statement_timeout = 1000", False),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", False),
        ("RESET ALL", False),
        ("SELECT set_config('statement_timeout', '1000', false)", False),
        ("SELECT pg_try_advisory_lock(1)", False),
        ("CREATE TEMP TABLE temporary_one (id int)", False),
        ("LISTEN somebody", False),
    ],
)
def test_what_changes_a_session_is_known_by_its_statement(database, statement, is_kept, monkeypatch):
    handle = tasks.nothing.delay()
    (held,) = messages.claim(handle)
    session = connection.connection
    monkeypatch.setattr("i3tasks_core.runner.call", lambda *_given: execute(statement)())

    Delivery(runtime()).run(held)

    assert (connection.connection is session) is is_kept


@pytest.mark.usefixtures("database")
def test_a_session_that_begins_within_somebodys_wrapper_leaves_that_alone():
    Delivery(runtime())
    connection.close()
    seen: list[str] = []

    def wrapper(execute, sql, *given):
        seen.append(sql)
        return execute(sql, *given)

    with connection.execute_wrapper(wrapper):
        execute("SELECT 1")()
    execute("SELECT 2")()

    assert seen == ["SELECT 1"]
    assert wrapper not in connection.execute_wrappers


@pytest.fixture
def pool_of_one(postgres_session: databases.Database) -> Iterator[None]:
    options = {"pool": {"min_size": 1, "max_size": 2}}
    with databases.current(
        replace(postgres_session, settings={**postgres_session.settings, "OPTIONS": options})
    ):
        yield
        databases.clear()
        connection.close()
        connection.close_pool()


@pytest.mark.usefixtures("pool_of_one")
@pytest.mark.parametrize(
    "what", ["a search path", "a session that only reads", "a transaction begun by hand"]
)
def test_a_changed_session_does_not_go_back_into_the_pool(what):
    before = look.delay("before")
    messages.deliver(before)
    handles = [leave_behind.delay(what) for _ in range(3)]
    for handle in handles:
        messages.deliver(handle)
        after = look.delay(str(handle.id))
        messages.deliver(after)
        assert after.result(timeout=0) == before.result(timeout=0)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_tasks_own_look_at_its_statements_ends_with_it(database, monkeypatch):
    """Its thread is a new one: the connection is opened inside the task's block."""

    def own(execute, *given):
        return execute(*given)

    def task(*_given):
        with connection.execute_wrapper(own):
            execute("SELECT 1")()

    (held,) = messages.claim(tasks.nothing.delay())
    monkeypatch.setattr("i3tasks_core.runner.call", task)

    def left() -> bool:
        try:
            Delivery(runtime()).run(held)
            return own in connection.execute_wrappers
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(left).result() is False
