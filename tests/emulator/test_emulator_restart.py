"""Stop and start: everything is forgotten, and a client finds its way back."""

import threading
from contextlib import AbstractContextManager

import grpc
import pytest
from emulator_client import PubSub, Target, eventually
from google.api_core.exceptions import GoogleAPICallError, NotFound, ServiceUnavailable

from google_emulator import find_jar, google_emulator
from i3tasks_emulator import EmbeddedPubSub
from ports import free_port


def publish_into(address: str, project: str) -> None:
    client = PubSub(Target("embedded", address))
    client.project = project
    client.topic()
    client.subscription()
    client.publish(b"one")
    client.channel.close()


def assert_forgotten(address: str, project: str) -> None:
    client = PubSub(Target("embedded", address))
    client.project = project
    with pytest.raises(NotFound):
        client.publish(b"two")
    with pytest.raises(NotFound):
        client.pull()
    client.channel.close()


def test_the_embedded_pubsub_forgets_everything() -> None:
    server = EmbeddedPubSub(port=free_port())
    with server:
        publish_into(server.target, "projects/the-project")
    with server:
        assert_forgotten(server.target, "projects/the-project")


@pytest.mark.google
def test_googles_emulator_forgets_everything() -> None:
    if find_jar() is None:
        pytest.skip("NOT COMPARED WITH GOOGLE'S EMULATOR: it is not installed (Google Cloud SDK)")
    runs: list[AbstractContextManager[str]] = [google_emulator(is_own=True), google_emulator()]
    with runs[0] as address:
        publish_into(address, "projects/the-project")
    with runs[1] as address:
        assert_forgotten(address, "projects/the-project")


def test_ids_of_a_former_life_mean_nothing_in_the_next() -> None:
    server = EmbeddedPubSub(port=free_port())
    lives = []
    for _ in range(2):
        with server:
            publish_into(server.target, "projects/the-project")
            client = PubSub(Target("embedded", server.target))
            client.project = "projects/the-project"
            received = client.pull_one()
            lives.append((received.ack_id, received.message.message_id))
            if len(lives) == 2:
                client.subscriber.acknowledge(
                    subscription=client.subscription_path("the-subscription"), ack_ids=[lives[0][0]]
                )
                client.nack(received)
                assert client.pull_one().message.data == b"one", "the old ack settled nothing"
            client.channel.close()

    assert lives[0][0] != lives[1][0]
    assert lives[0][1] != lives[1][1]


def test_a_client_finds_a_server_that_came_back_on_its_port() -> None:
    server = EmbeddedPubSub(port=free_port())
    with server:
        client = PubSub(Target("embedded", server.target))
        client.topic()
    with server:

        def declared() -> bool:
            try:
                client.topic()
            except ServiceUnavailable:
                return False
            return True

        eventually(declared)
        client.channel.close()


def test_what_waits_is_told_that_the_server_stops() -> None:
    server = EmbeddedPubSub().start()
    client = PubSub(Target("embedded", server.target))
    client.topic()
    client.topic("the-silent")
    client.subscription(topic="the-silent")
    client.subscription("the-streamed")
    errors: list[GoogleAPICallError] = []

    def wait() -> None:
        try:
            client.pull(within=30)
        except GoogleAPICallError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with client.stream("the-streamed") as stream:
        client.publish(b"one")
        assert stream.receive_count(1)
        waiting.join(0.3)

        server.stop()

        assert stream.ended.wait(5)
        assert isinstance(stream.error, ServiceUnavailable)
    waiting.join(5)
    assert [error.grpc_status_code for error in errors] == [grpc.StatusCode.UNAVAILABLE]
    client.channel.close()


def test_two_servers_in_one_process_know_nothing_of_each_other() -> None:
    with EmbeddedPubSub() as one, EmbeddedPubSub() as other:
        publish_into(one.target, "projects/the-project")
        assert_forgotten(other.target, "projects/the-project")
        assert one.certs_url != other.certs_url


def test_a_port_that_is_taken_is_an_error_and_the_other_one_is_free_again() -> None:
    port = free_port()
    with EmbeddedPubSub() as one:
        with pytest.raises(OSError, match="in use"):
            EmbeddedPubSub(port=one.port).start()
        with pytest.raises(OSError, match="in use"):
            EmbeddedPubSub(port=port, http_port=one.port).start()
    with EmbeddedPubSub(port=port):
        pass


def test_a_server_that_is_stopped_has_no_address() -> None:
    server = EmbeddedPubSub()
    with pytest.raises(RuntimeError):
        _ = server.target
    server.stop()
