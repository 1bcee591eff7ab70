"""The publisher waits for Pub/Sub a little, and after a failure not at all for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions

from i3tasks_core.errors import PubSubError, PubSubMissing, PubSubUnavailable
from i3tasks_core.pubsub import publisher as module
from i3tasks_core.pubsub.publisher import MAX_MESSAGES, Breaker, Publisher

TOPIC = "projects/shop/topics/tasks.heavy"
MESSAGE = (b"data", {"signature": "abc"})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class FakeClient:
    """In place of the generated client; also of what hands it out."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.options: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def publisher(self) -> FakeClient:
        return self

    def rpc(self, method: str) -> Any:
        assert method == "Publish"
        return self._publish

    def _publish(self, request: Any, **options: Any) -> None:
        self.requests.append(request)
        self.options.append(options)
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def publisher(client: FakeClient, clock: Clock) -> Publisher:
    return Publisher(client)  # type: ignore[arg-type]


def fail(publisher: Publisher, expected: type[Exception] = PubSubUnavailable) -> None:
    with pytest.raises(expected):
        publisher.publish(TOPIC, [MESSAGE])


# --- the breaker alone


def test_a_new_breaker_is_closed(clock):
    assert not Breaker().is_open


def test_a_tripped_breaker_is_open_for_its_time_and_no_longer(clock):
    breaker = Breaker(10.0)
    breaker.trip()
    clock.now += 9.999
    assert breaker.is_open
    clock.now += 0.001
    assert not breaker.is_open


def test_a_breaker_that_is_tripped_again_is_open_for_longer(clock):
    breaker = Breaker(10.0)
    breaker.trip()
    clock.now += 9
    breaker.trip()
    clock.now += 9

    assert breaker.is_open


def test_a_reset_breaker_is_closed(clock):
    breaker = Breaker()
    breaker.trip()
    breaker.reset()

    assert not breaker.is_open


# --- the publisher


def test_messages_go_out_in_one_request(publisher, client):
    publisher.publish(TOPIC, [MESSAGE, (b"more", {})])
    (request,) = client.requests

    assert request.topic == TOPIC
    assert [(message.data, dict(message.attributes)) for message in request.messages] == [
        MESSAGE,
        (b"more", {}),
    ]


def test_it_waits_for_its_patience_and_no_longer(publisher, client):
    publisher.publish(TOPIC, [MESSAGE])

    assert client.options[0]["timeout"] == 2.0


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ServiceUnavailable("away"),
        exceptions.DeadlineExceeded("slow"),
        exceptions.InternalServerError("broken"),
        exceptions.ResourceExhausted("quota"),
        exceptions.RetryError("gave up", None),
    ],
    ids=lambda error: type(error).__name__,
)
def test_after_a_failure_nobody_waits_for_ten_seconds(publisher, client, clock, error):
    client.error = error
    fail(publisher)
    client.error = None
    clock.now += 9.9
    fail(publisher)

    assert len(client.requests) == 1
    clock.now += 0.1
    publisher.publish(TOPIC, [MESSAGE])
    assert len(client.requests) == 2


def test_a_second_failure_opens_it_again(publisher, client, clock):
    client.error = exceptions.ServiceUnavailable("away")
    fail(publisher)
    clock.now += 10
    fail(publisher)
    clock.now += 9
    fail(publisher)

    assert len(client.requests) == 2


def test_a_success_closes_it(publisher, client, clock):
    client.error = exceptions.ServiceUnavailable("away")
    fail(publisher)
    clock.now += 10
    client.error = None
    publisher.publish(TOPIC, [MESSAGE])

    assert not publisher.breaker.is_open


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.NotFound("no topic"), PubSubMissing),
        (exceptions.PermissionDenied("not yours"), PubSubError),
        (exceptions.InvalidArgument("bad"), PubSubError),
    ],
)
def test_a_refusal_concerns_one_topic_and_leaves_it_closed(publisher, client, error, expected):
    client.error = error
    fail(publisher, expected)
    client.error = None
    publisher.publish(TOPIC, [MESSAGE])

    assert len(client.requests) == 2


def test_a_thousand_messages_are_sent_and_one_more_is_refused_unsent(publisher, client):
    publisher.publish(TOPIC, [MESSAGE] * MAX_MESSAGES)
    with pytest.raises(PubSubError, match="1001 messages in one request; at most 1000") as caught:
        publisher.publish(TOPIC, [MESSAGE] * (MAX_MESSAGES + 1))

    assert not isinstance(caught.value, PubSubUnavailable)
    assert len(client.requests) == 1
    assert not publisher.breaker.is_open
