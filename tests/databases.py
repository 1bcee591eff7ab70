"""The two databases every test can run on, and how a process is pointed at one of them."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import connections, transaction

import postgres
from project.variants import VARIANT


@dataclass(frozen=True)
class Database:
    """A migrated database.

    Attributes:
        settings: its entry in DATABASES.
        environment: what makes a process with the test project's settings use it.
    """

    vendor: str
    settings: dict[str, Any]
    environment: dict[str, str]


@contextmanager
def sqlite_database() -> Iterator[Database]:
    from project.settings import SQLITE

    folder = Path(tempfile.mkdtemp(prefix="i3tasks-sqlite-"))
    path = str(folder / "test.sqlite3")
    database = Database("sqlite", {**SQLITE, "NAME": path}, {"TEST_SQLITE": path})
    with current(database):
        call_command("migrate", verbosity=0)
    yield database
    shutil.rmtree(folder)


@contextmanager
def postgres_database(server: postgres.Cluster) -> Iterator[Database]:
    from project.settings import POSTGRES

    settings = {**POSTGRES, "PORT": str(server.port), "NAME": "postgres"}
    database = Database("postgresql", settings, {"TEST_POSTGRES_PORT": str(server.port)})
    with current(database):
        call_command("migrate", verbosity=0)
    yield database


@contextmanager
def current(database: Database) -> Iterator[None]:
    """Make it this process's default database, for all threads that open a connection inside the block."""
    before = copy.deepcopy(connections.settings["default"])
    _switch(database.settings)
    try:
        yield
    finally:
        _switch(before)


FEW = 1_000
"""Rows that PostgreSQL deletes far faster than it truncates their table, and all that point to it."""


def clear() -> None:
    """Delete all rows that a test may have made."""
    connection = connections["default"]
    is_postgres = connection.vendor == "postgresql"
    tables = [connection.ops.quote_name(model._meta.db_table) for model in _models()]
    count = 0
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        if is_postgres:
            # Who was killed may have a commit under way: its rows must go too.
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
            cursor.execute("SET LOCAL session_replication_role = replica")  # without foreign keys, that is
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")
            count += cursor.rowcount
        if is_postgres and count > FEW:  # until a vacuum came by they would slow the next tests down
            cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")


def environment(database: Database, **more: str) -> dict[str, str]:
    """The environment of a process that works on that database."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "I3TASKS_"))}
    base |= {name: os.environ[name] for name in (VARIANT,) if name in os.environ}
    base |= {"DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONPATH": str(Path(__file__).parent)}
    return base | database.environment | more


def _models() -> list[Any]:
    user = apps.get_model("auth", "User")
    return [
        *apps.get_app_config("i3tasks_django").get_models(),
        user.user_permissions.through,
        user.groups.through,
        apps.get_model("auth", "Group"),
        user,
        apps.get_model("admin", "LogEntry"),
    ]


def _switch(settings: dict[str, Any]) -> None:
    connections["default"].close()
    # An entry of its own: threads that still hold a connection of the other database keep that one's.
    entry = copy.deepcopy(settings)
    for key, value in {
        "ATOMIC_REQUESTS": False, "AUTOCOMMIT": True, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False,
        "OPTIONS": {}, "TIME_ZONE": None, "HOST": "", "USER": "", "PASSWORD": "", "PORT": "",
        "TEST": {"CHARSET": None, "COLLATION": None, "MIGRATE": True, "MIRROR": None, "NAME": None},
    }.items():  # fmt: skip
        entry.setdefault(key, value)
    connections.settings["default"] = entry
    del connections["default"]
