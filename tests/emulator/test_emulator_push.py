"""Push delivery."""

import base64
import threading
import time
from itertools import pairwise

import pytest
from emulator_client import PubSub, eventually
from emulator_endpoint import Endpoint, PushRequest

ACKED = {102, 200, 201, 202, 204}
FAILED = {206, 301, 400, 404, 429, 500, 503}


@pytest.fixture(autouse=True)
def the_topic(pubsub: PubSub) -> None:
    pubsub.topic()


def subscribe(pubsub: PubSub, endpoint: Endpoint, **settings: object) -> str:
    return pubsub.subscription(push_config={"push_endpoint": f"{endpoint.url}?token=1"}, **settings)


def test_a_push_has_both_spellings_and_no_token_of_its_own(pubsub: PubSub, endpoint: Endpoint) -> None:
    path = subscribe(pubsub, endpoint)
    (message_id,) = pubsub.publish(b"hello", color="red")
    assert endpoint.wait_for(1)

    (request,) = endpoint.requests

    assert request.path == "/push?token=1"
    assert request.headers["Content-Type"] == "application/json"
    assert "Authorization" not in request.headers
    assert request.envelope["subscription"] == path
    message = request.message
    assert base64.b64decode(message["data"]) == b"hello"
    assert message["attributes"] == {"color": "red"}
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert time.strftime("%Y-%m-%dT", time.gmtime()) in message["publishTime"]
    assert message["publishTime"].endswith("Z")
    assert "deliveryAttempt" not in request.envelope


def test_a_push_without_data_has_attributes_alone(pubsub: PubSub, endpoint: Endpoint) -> None:
    subscribe(pubsub, endpoint)
    pubsub.publish(b"", color="red")
    assert endpoint.wait_for(1)

    assert not endpoint.requests[0].message.get("data")
    assert endpoint.requests[0].message["attributes"] == {"color": "red"}


def test_what_is_not_acked_is_pushed_again(pubsub: PubSub, endpoint: Endpoint) -> None:
    seen: set[str] = set()

    def answer(request: PushRequest) -> int:
        first = request.message["messageId"] not in seen
        seen.add(request.message["messageId"])
        return int(request.message["attributes"]["status"]) if first else 204

    endpoint.answer = answer
    subscribe(pubsub, endpoint)
    failed = pubsub.target.differs(FAILED, google=FAILED | {202}, because="202 counts as a failure")
    for status in sorted(ACKED | FAILED):
        pubsub.publish(b"x", status=str(status))

    assert endpoint.wait_for(len(ACKED | FAILED) + len(failed))

    statuses = [int(request.message["attributes"]["status"]) for request in endpoint.requests]
    assert {status for status in statuses if statuses.count(status) == 2} == failed
    assert len(statuses) == len(ACKED | FAILED) + len(failed)


def test_an_endpoint_that_is_not_there_is_tried_until_it_is(pubsub: PubSub, endpoint: Endpoint) -> None:
    path = pubsub.subscription(push_config={"push_endpoint": "http://127.0.0.1:9/nobody"})
    pubsub.publish(b"one")

    pubsub.subscriber.modify_push_config(
        subscription=path, push_config={"push_endpoint": endpoint.url}, retry=None, timeout=10
    )

    assert endpoint.wait_for(1)
    assert endpoint.requests[0].path == "/push"


def test_failed_pushes_back_off(pubsub: PubSub, endpoint: Endpoint) -> None:
    pubsub.target.embedded_only("failed pushes retry about every second")
    endpoint.answer = lambda request: 500
    subscribe(pubsub, endpoint)
    pubsub.publish(b"one")
    assert endpoint.wait_for(4)

    at = [request.at for request in endpoint.requests]
    rests = [later - sooner for sooner, later in pairwise(at)]
    for rest, least in zip(rests, (0.1, 0.2, 0.4), strict=True):
        assert least - 0.02 < rest < least + 0.7, rests


def test_connections_are_kept_alive(pubsub: PubSub, endpoint: Endpoint) -> None:
    pubsub.target.embedded_only("it opens a connection for every message")
    subscribe(pubsub, endpoint)
    for count in range(1, 6):
        pubsub.publish(b"one")
        assert endpoint.wait_for(count)
        assert endpoint.wait_until(lambda: endpoint.open_count == 0)

    assert len({request.connection for request in endpoint.requests}) <= 2


def test_many_messages_are_all_pushed(pubsub: PubSub, endpoint: Endpoint) -> None:
    subscribe(pubsub, endpoint)
    ids = pubsub.publish(*[b"x"] * 300)

    assert endpoint.wait_for(300)
    assert sorted(request.message["messageId"] for request in endpoint.requests) == sorted(ids)


def test_an_endpoint_starts_with_eight_requests_and_earns_more(pubsub: PubSub, endpoint: Endpoint) -> None:
    pubsub.target.embedded_only("it pushes two at a time, whatever happens")
    gate = threading.Event()

    def answer(request: PushRequest) -> int:
        gate.wait(10)
        time.sleep(0.005)
        return 204

    endpoint.answer = answer
    subscribe(pubsub, endpoint)
    pubsub.publish(*[b"x"] * 200)
    assert endpoint.wait_for(8)
    assert not endpoint.wait_for(9, within=0.3)

    gate.set()

    assert endpoint.wait_for(200)
    assert 8 < endpoint.most_open <= 64


def test_an_endpoint_that_fails_is_asked_less(pubsub: PubSub, endpoint: Endpoint) -> None:
    pubsub.target.embedded_only("it pushes two at a time, whatever happens")
    fail, gate = threading.Event(), threading.Event()

    def answer(request: PushRequest) -> int:
        if fail.wait(10) and len(endpoint.requests) <= 8:
            return 500
        gate.wait(10)
        return 204

    endpoint.answer = answer
    subscribe(pubsub, endpoint)
    pubsub.publish(*[b"x"] * 50)
    assert endpoint.wait_for(8)

    fail.set()

    # Eight failures halve the window down to one, and that one is held at the gate.
    assert endpoint.wait_for(9)
    assert not endpoint.wait_for(10, within=0.5)
    gate.set()
    assert endpoint.wait_for(58)


def test_a_push_subscription_becomes_a_pull_subscription(pubsub: PubSub, endpoint: Endpoint) -> None:
    path = subscribe(pubsub, endpoint)
    pubsub.publish(b"pushed")
    assert endpoint.wait_for(1)
    pubsub.subscriber.modify_push_config(subscription=path, push_config={}, retry=None, timeout=10)

    pubsub.publish(b"pulled")

    assert eventually(pubsub.pull_now)[0].message.data == b"pulled"
    assert len(endpoint.requests) == 1


def test_a_pull_subscription_becomes_a_push_subscription(pubsub: PubSub, endpoint: Endpoint) -> None:
    path = pubsub.subscription()
    pubsub.publish(b"waiting")
    request = {
        "subscription": {"name": path, "push_config": {"push_endpoint": endpoint.url}},
        "update_mask": {"paths": ["push_config"]},
    }

    pubsub.subscriber.update_subscription(request=request, retry=None, timeout=10)

    assert endpoint.wait_for(1)
    assert base64.b64decode(endpoint.requests[0].message["data"]) == b"waiting"


def test_a_deleted_subscription_pushes_nothing_more(pubsub: PubSub, endpoint: Endpoint) -> None:
    path = subscribe(pubsub, endpoint)
    pubsub.subscriber.delete_subscription(subscription=path, retry=None, timeout=10)
    pubsub.subscription("the-other", push_config={"push_endpoint": f"{endpoint.url}/other"})
    pubsub.publish(b"one")

    assert endpoint.wait_for(1)
    assert [request.path for request in endpoint.requests] == ["/push/other"]
