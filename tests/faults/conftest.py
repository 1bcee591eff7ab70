from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ledger
import pytest
from oracle import Oracle

import databases
import processes
from i3tasks_core.config import PubSubConfig
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import Runtime
from i3tasks_django.types import PushQueue

LEASE = 1.5


@pytest.fixture
def services(
    database: databases.Database,
    embedded_pubsub: PubSubConfig,
    i3tasks: Callable[..., Runtime],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[processes.Stack]:
    """With leases of 1.5 s instead of 60, the messages' own included: what was pulled and never acknowledged
    comes back as soon."""
    monkeypatch.setattr("i3tasks_emulator.settings.MIN_ACK_DEADLINE", 1)
    monkeypatch.setattr("i3tasks_core.pubsub.subscription._PULL_DEADLINE", 2)
    monkeypatch.setattr("i3tasks_core.pubsub.subscription._BACKOFF", (0, 1))
    with processes.stack(database, lease=LEASE) as made:
        i3tasks(default_queue=PushQueue("default", "default", made.push_endpoint))
        assert declare()
        yield made


@pytest.fixture
def services_at_defaults(
    request: pytest.FixtureRequest, override: Callable[..., Runtime]
) -> Iterator[processes.Stack]:
    """With every setting as it comes; asked for by the names of a database and a Pub/Sub."""
    vendor, pubsub = request.param
    server: str = request.getfixturevalue(f"{pubsub}_target")
    chosen: databases.Database = request.getfixturevalue(f"{vendor}_session")
    override(PUBSUB_CONFIG={"EMULATOR": True, "HOST": server, "PROJECT_ID": f"p{uuid.uuid4().hex[:12]}"})
    with databases.current(chosen):
        with processes.stack(chosen) as made:
            assert declare()
            yield made
        databases.clear()


@pytest.fixture
def entries(database: databases.Database) -> Iterator[None]:
    """A ledger for the tasks that book."""
    with ledger.ledger():
        yield


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(tmp_path / "oracle")


@pytest.fixture(params=["push", "pull"])
def mode(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was delivered and not acknowledged comes back in a moment."""
    monkeypatch.setattr("i3tasks_emulator.settings.MIN_ACK_DEADLINE", 1)
    monkeypatch.setattr("i3tasks_core.pubsub.subscription._PULL_DEADLINE", 2)
    monkeypatch.setattr("i3tasks_core.pubsub.subscription._BACKOFF", (0, 1))


@pytest.fixture
def lease() -> float:
    """Seconds; for a test module to change."""
    return LEASE


@pytest.fixture
def two_ways(
    database: databases.Database,
    embedded_pubsub: PubSubConfig,
    soon_again: None,
    i3tasks: Callable[..., Any],
    lease: float,
) -> Iterator[processes.Stack]:
    """The services for push and pull."""
    with processes.stack(database, lease=lease) as made:
        i3tasks(default_queue=PushQueue("default", "default", made.push_endpoint))
        assert declare()
        yield made
