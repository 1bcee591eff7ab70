"""One suite for two servers: the embedded Pub/Sub and, wherever it is installed, Google's own emulator."""

from collections.abc import Iterator

import pytest
from emulator_client import PubSub, Target
from emulator_endpoint import Endpoint
from emulator_process import emulator_process

from google_emulator import find_jar, google_emulator


@pytest.fixture(scope="session")
def embedded_target() -> Iterator[Target]:
    with emulator_process("--port", "0") as running:
        yield Target("embedded", running.target, running.certs_url)


@pytest.fixture(scope="session")
def google_target() -> Iterator[Target]:
    if find_jar() is None:
        pytest.skip("NOT COMPARED WITH GOOGLE'S EMULATOR: it is not installed (Google Cloud SDK)")
    with google_emulator() as address:
        yield Target("google", address)


@pytest.fixture(scope="session", params=["embedded", pytest.param("google", marks=pytest.mark.google)])
def pubsub_target(request: pytest.FixtureRequest) -> Target:
    """The server under test: every test that asks for it runs against both."""
    target: Target = request.getfixturevalue(f"{request.param}_target")
    return target


@pytest.fixture
def pubsub(pubsub_target: Target) -> Iterator[PubSub]:
    """A client in an empty project of the server under test."""
    client = PubSub(pubsub_target)
    yield client
    client.close()


@pytest.fixture
def embedded(embedded_target: Target) -> Iterator[PubSub]:
    """A client in an empty project of the embedded Pub/Sub, for what Google's emulator does not have."""
    client = PubSub(embedded_target)
    yield client
    client.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()
