"""One suite for every database and every Pub/Sub.

A test that asks for ``database`` runs once on SQLite and once on PostgreSQL, with real commits; one that asks
for ``pubsub`` runs once against the embedded Pub/Sub and once against Google's emulator.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import django
import hypothesis
import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
os.environ.pop("PUBSUB_EMULATOR_HOST", None)  # nothing of ours may depend on it
# Hundreds of processes start here. Where bytecode is not kept, each spends a second on compiling its modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
django.setup()

from django.conf import settings as django_settings  # noqa: E402
from django.test import override_settings  # noqa: E402

import databases  # noqa: E402
import google_emulator  # noqa: E402
import postgres  # noqa: E402
from i3tasks_core.config import PubSubConfig  # noqa: E402
from i3tasks_core.errors import PubSubError  # noqa: E402
from i3tasks_core.pubsub.publisher import Publisher  # noqa: E402
from i3tasks_django import ringing  # noqa: E402
from i3tasks_django.runtime import Runtime, runtime  # noqa: E402
from i3tasks_emulator.embedded import EmbeddedPubSub  # noqa: E402

# Six processes share two cores here: how long an example takes says nothing about it.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


def pytest_configure(config: pytest.Config) -> None:
    """One emulator of Google's for all test processes: each Java machine costs seconds of both cores."""
    is_controller = "PYTEST_XDIST_WORKER" not in os.environ and config.getoption("numprocesses", None)
    if is_controller and google_emulator.find_jar() and not config.option.collectonly:
        server = google_emulator.google_emulator()
        os.environ[google_emulator.SHARED] = server.__enter__()
        config.add_cleanup(lambda: server.__exit__(None, None, None))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let processes begin with the tests that wait: xdist gives each process an equal run of the list."""
    waiting = [item for item in items if item.get_closest_marker("waits")]
    others = [item for item in items if not item.get_closest_marker("waits")]
    step = len(items) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = others
    for index, item in enumerate(waiting):
        items.insert(index * step, item)


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


@pytest.fixture(autouse=True)
def rung_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit rings is rung when the call returns; tests/integration/test_ringing.py has the thread."""
    monkeypatch.setattr(ringing, "ring", ringing.ring_now)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    """A migrated, empty database as this process's default."""
    name = {"sqlite": "sqlite_session", "postgresql": "postgres_session"}[request.param]
    chosen: databases.Database = request.getfixturevalue(name)
    with databases.current(chosen):
        yield chosen
        databases.clear()


@pytest.fixture
def either_database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    """One of the two, always the same for a test: for the many tests of a page, of which each asks little."""
    is_postgres = zlib.crc32(request.node.nodeid.encode()) % 2
    chosen: databases.Database = request.getfixturevalue(
        "postgres_session" if is_postgres else "sqlite_session"
    )
    with databases.current(chosen):
        yield chosen
        databases.clear()


@pytest.fixture(scope="session")
def embedded_target() -> Iterator[str]:
    with EmbeddedPubSub() as server:
        yield server.target


@pytest.fixture(scope="session")
def google_target() -> Iterator[str]:
    if google_emulator.find_jar() is None:
        if os.environ.get("CI") and shutil.which("gcloud"):
            pytest.fail("the Google Cloud SDK is here, but not its Pub/Sub emulator: install the component")
        pytest.skip("Google's Pub/Sub emulator is not installed: only the embedded one was tested")
    with google_emulator.google_emulator() as target:
        yield target


@pytest.fixture
def override() -> Iterator[Callable[..., Runtime]]:
    """Change Django settings until the test ends: ``override(DEBUG=True)``; undone in reverse order."""
    with ExitStack() as stack:

        def change(**fields: Any) -> Runtime:
            stack.enter_context(override_settings(**fields))
            return runtime()

        yield change


@pytest.fixture
def i3tasks(override: Callable[..., Runtime]) -> Callable[..., Runtime]:
    """Change fields of the I3TASKS setting: ``i3tasks(force_sync=True)``."""
    return lambda **fields: override(I3TASKS=replace(django_settings.I3TASKS, **fields))


@pytest.fixture(params=["embedded", pytest.param("google", marks=pytest.mark.google)])
def pubsub(request: pytest.FixtureRequest, override: Callable[..., Runtime]) -> Iterator[PubSubConfig]:
    """A Pub/Sub with a project of its own, so that nothing is left over from another test."""
    target: str = request.getfixturevalue(f"{request.param}_target")
    yield from _project_on(target, override)


@pytest.fixture
def embedded_pubsub(embedded_target: str, override: Callable[..., Runtime]) -> Iterator[PubSubConfig]:
    """The embedded one only: for what does not depend on whose Pub/Sub it is."""
    yield from _project_on(embedded_target, override)


@pytest.fixture
def silent_pubsub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pub/Sub is away, and nobody waits to find that out: for tests that deliver by themselves."""

    def refuse(*_args: Any) -> None:
        raise PubSubError("no Pub/Sub in this test")

    monkeypatch.setattr(Publisher, "publish", refuse)


@pytest.fixture
def settings_for_google_cloud(override: Callable[..., Runtime]) -> None:
    """Settings as in production; nothing of Google's is reached by them."""
    override(PUBSUB_CONFIG={"EMULATOR": False, "PROJECT_ID": "production", "CREDENTIALS": None}, DEBUG=False)


def _project_on(target: str, override: Callable[..., Runtime]) -> Iterator[PubSubConfig]:
    current = override(
        PUBSUB_CONFIG={"EMULATOR": True, "HOST": target, "PROJECT_ID": f"p{uuid.uuid4().hex[:12]}"}
    )
    yield current.pubsub
    current.clients.close()


@pytest.fixture
def short_lease(i3tasks: Any) -> timedelta:
    lease = timedelta(seconds=1)
    i3tasks(lease=lease)
    return lease
