"""Everything that is wrong with the database's settings, or works and will be regretted."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, router

from i3tasks_core.config import I3TasksSettings, PullQueue
from i3tasks_core.problem import Problem
from i3tasks_django.service import THREADS
from i3tasks_django.store.database import alias

_OLDEST_SQLITE = (3, 35, 0)
_LEAST_TIMEOUT = 20

_POOL_SIZE = 4
"""Of psycopg's pool when nothing else is said: min_size, and max_size is the same."""

_BESIDE_TASKS = 6
"""Threads of a worker that hold a connection beside those of its tasks: heart, side beat, puller, settler,
ringer and watch."""

_BESIDE_REQUESTS = 4
"""The heart of a receiver, its claimer, settler and ringer."""


def database_problems() -> Iterator[Problem]:
    """What keeps i3tasks from working."""
    name = alias()
    field = f"DATABASES[{name!r}]"
    vendor = connections[name].vendor
    if vendor == "sqlite":
        yield from _sqlite_problems(field, connections[name].settings_dict)
    elif vendor != "postgresql":
        # PostgreSQL's own age is seen by Django, when it connects: it asks for a newer one than we do.
        yield Problem(
            code="E021",
            field=f"{field}['ENGINE']",
            message=f"is {connections[name].settings_dict['ENGINE']!r}",
            hint="use PostgreSQL 13+ or SQLite: i3tasks needs partial unique constraints, RETURNING and "
            "SKIP LOCKED",
        )
    if connections[name].settings_dict.get("AUTOCOMMIT") is False:
        yield Problem(
            code="E038",
            field=f"{field}['AUTOCOMMIT']",
            message="is False",
            hint="remove it: a claim must be committed before its task runs, and says so to nobody else",
        )
    yield from _router_problems()


def database_warnings(config: I3TasksSettings) -> Iterator[Problem]:
    """What works, but not as one might think.

    Args:
        config: settings in which nothing is wrong.
    """
    name = alias()
    if name != DEFAULT_DB_ALIAS:
        yield Problem(
            code="W020",
            field="DATABASE_ROUTERS",
            message=f"keep i3tasks' tables in {name!r}: a call made in a transaction on {DEFAULT_DB_ALIAS!r} "
            "is recorded, and runs, whether that commits or not",
            hint=f"keep the tables in {DEFAULT_DB_ALIAS!r}, or make such calls in transaction.on_commit() or "
            f"in transaction.atomic(using={name!r})",
        )
    current = connections[name]
    options = _options(current.settings_dict)
    if current.vendor == "sqlite":
        yield from _waiting_warnings(name, options.get("timeout"), config)
    elif current.vendor == "postgresql":
        yield from _pool_warnings(name, options.get("pool"), config)


def _sqlite_problems(field: str, database: dict[str, Any]) -> Iterator[Problem]:
    options = _options(database)
    timeout, start = options.get("timeout", 5), options.get("init_command")
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield Problem(
            code="E022",
            field=field,
            message=f"runs on SQLite {sqlite3.sqlite_version}",
            hint="use SQLite 3.35 or newer, which knows RETURNING",
        )
    if options.get("transaction_mode") != "IMMEDIATE":
        yield Problem(
            code="E023",
            field=f"{field}['OPTIONS']['transaction_mode']",
            message=f"is {options.get('transaction_mode')!r}",
            hint='write "IMMEDIATE": a deferred transaction that starts to write fails at once when '
            "another writer is at work",
        )
    if not isinstance(timeout, int | float) or timeout < _LEAST_TIMEOUT:
        yield Problem(
            code="E024",
            field=f"{field}['OPTIONS']['timeout']",
            message=f"is {timeout!r}",
            hint=f"write {_LEAST_TIMEOUT} or more seconds: writers wait for each other",
        )
    if "journal_mode=wal" not in str(start).replace(" ", "").lower():
        yield Problem(
            code="E025",
            field=f"{field}['OPTIONS']['init_command']",
            message=f"is {start!r}",
            hint='write "PRAGMA journal_mode=WAL;": readers and the writer must not block each other',
        )


def _router_problems() -> Iterator[Problem]:
    places = {model.__name__: router.db_for_write(model) for model in _models()}
    if len(set(places.values())) > 1:
        told = ", ".join(f"{model} in {place!r}" for model, place in sorted(places.items()))
        yield Problem(
            code="E037",
            field="DATABASE_ROUTERS",
            message=f"keep i3tasks' tables apart: {told}",
            hint="send the whole app i3tasks_django to one database: its rows change in one transaction",
        )


def _models() -> list[Any]:
    return list(apps.get_app_config("i3tasks_django").get_models())


def _waiting_warnings(name: str, timeout: Any, config: I3TasksSettings) -> Iterator[Problem]:
    """A heart that waits for another writer until its lease is over has lost tries that are well."""
    left = config.lease.total_seconds() * 3 / 4  # of the lease, when the next heartbeat begins
    if isinstance(timeout, int | float) and timeout >= left:
        yield Problem(
            code="W021",
            field="I3TASKS.lease",
            message=f"is {config.lease.total_seconds():g} s, and on SQLite a heartbeat may wait "
            f"DATABASES[{name!r}]['OPTIONS']['timeout'], {timeout:g} s, for another writer: a task that is "
            "well may be taken for lost and run twice",
            hint=f"write a lease of more than {timeout * 4 / 3:.0f} s",
        )


def _pool_warnings(name: str, pool: Any, config: I3TasksSettings) -> Iterator[Problem]:
    if not pool:
        return
    size = _pool_size(pool)
    who, variable, tasks, beside = _greediest(config)
    if size is not None and size < tasks + beside:
        yield Problem(
            code="W022",
            field=f"DATABASES[{name!r}]['OPTIONS']['pool']",
            message=f"gives {size} connections, and a {who} with {variable}={tasks} uses {tasks + beside}: "
            "who waits for one renews no lease",
            hint=f'write {{"max_size": {tasks + beside}}}, or a lower {variable}',
        )


def _pool_size(pool: Any) -> int | None:
    """The most connections it opens; None where that cannot be read."""
    given = pool if isinstance(pool, dict) else {}
    least = given.get("min_size", _POOL_SIZE)
    most = given.get("max_size")
    size = least if most is None else most
    return size if isinstance(size, int) else None


def _greediest(config: I3TasksSettings) -> tuple[str, str, int, int]:
    """The service whose process uses most connections, the variable that says so, and for what."""
    from i3tasks_django.worker_options import CONCURRENCY

    services = [("receiver", "I3TASKS_THREADS", _number("I3TASKS_THREADS", THREADS), _BESIDE_REQUESTS)]
    if any(isinstance(queue, PullQueue) for queue in config.queues):
        name = "I3TASKS_CONCURRENCY"
        services.append(("worker", name, _number(name, CONCURRENCY), _BESIDE_TASKS))
    return max(services, key=lambda service: service[2] + service[3])


def _number(name: str, default: int) -> int:
    """What the environment says; a service that starts with a wrong number tells of it."""
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _options(database: dict[str, Any]) -> dict[str, Any]:
    options = database.get("OPTIONS")
    return options if isinstance(options, dict) else {}
