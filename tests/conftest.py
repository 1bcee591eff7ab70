"""One suite for every database and every Pub/Sub.

A test that asks for ``database`` runs once on SQLite and once on PostgreSQL, with real commits; one that asks
for ``pubsub`` runs once against the embedded Pub/Sub and once against Google's emulator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import django
import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
os.environ.pop("PUBSUB_EMULATOR_HOST", None)  # nothing of ours may depend on it
django.setup()

from django.conf import settings as django_settings  # noqa: E402
from django.test import override_settings  # noqa: E402

import databases  # noqa: E402
import postgres  # noqa: E402
from i3tasks_django.runtime import Runtime, runtime  # noqa: E402


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_session() -> Iterator[databases.Database]:
    with databases.sqlite_database() as database:
        yield database


@pytest.fixture(scope="session")
def postgres_session(postgres_server: postgres.Cluster) -> Iterator[databases.Database]:
    with databases.postgres_database(postgres_server) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    """A migrated, empty database as this process's default."""
    name = {"sqlite": "sqlite_session", "postgresql": "postgres_session"}[request.param]
    chosen: databases.Database = request.getfixturevalue(name)
    with databases.current(chosen):
        yield chosen
        databases.clear()


@pytest.fixture
def i3tasks() -> Iterator[Any]:
    """Change fields of the I3TASKS setting: ``i3tasks(force_sync=True)``."""
    from dataclasses import replace

    overrides: list[override_settings] = []

    def change(**fields: Any) -> Runtime:
        override = override_settings(I3TASKS=replace(django_settings.I3TASKS, **fields))
        override.enable()
        overrides.append(override)
        return runtime()

    yield change
    for override in reversed(overrides):
        override.disable()


@pytest.fixture
def short_lease(i3tasks: Any) -> timedelta:
    lease = timedelta(seconds=1)
    i3tasks(lease=lease)
    return lease
