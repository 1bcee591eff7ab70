"""StreamingPull."""

import pytest
from emulator_client import PubSub, eventually
from google.api_core.exceptions import FailedPrecondition, NotFound
from google.pubsub_v1.types import ReceivedMessage

STREAM_LIMIT = "it fills a stream whatever max_outstanding_messages says"


@pytest.fixture(autouse=True)
def subscribed(pubsub: PubSub) -> None:
    pubsub.topic()
    pubsub.subscription()


def test_messages_arrive_on_an_open_stream(pubsub: PubSub) -> None:
    with pubsub.stream() as stream:
        pubsub.publish(b"one", b"two")

        received = stream.receive_count(2)

    assert [each.message.data for each in received] == [b"one", b"two"]


def test_what_is_ready_arrives_when_the_stream_opens(pubsub: PubSub) -> None:
    pubsub.publish(*[b"x"] * 250)

    with pubsub.stream() as stream:
        assert len(stream.receive_count(250)) == 250


def test_an_ack_on_the_stream_settles(pubsub: PubSub) -> None:
    pubsub.publish(b"acked", b"refused")
    with pubsub.stream() as stream:
        acked, refused = stream.receive_count(2)
        stream.send(
            ack_ids=[acked.ack_id], modify_deadline_ack_ids=[refused.ack_id], modify_deadline_seconds=[0]
        )

        again = stream.receive_count(1)

    assert [each.message.data for each in again] == [b"refused"]


def test_a_unary_ack_settles_what_came_by_stream(pubsub: PubSub) -> None:
    pubsub.publish(b"acked", b"refused")
    with pubsub.stream() as stream:
        acked, refused = stream.receive_count(2)
        pubsub.ack(acked)
        pubsub.nack(refused)

        again = stream.receive_count(1)

    assert [each.message.data for each in again] == [b"refused"]


def test_a_stream_holds_no_more_messages_than_it_asked_for(pubsub: PubSub) -> None:
    pubsub.target.embedded_only(STREAM_LIMIT)
    pubsub.publish(*[b"x"] * 50)
    with pubsub.stream(max_outstanding_messages=7) as stream:
        held = stream.receive_count(7)
        assert len(held) == 7
        assert stream.receive(within=0.3) == []

        stream.send(ack_ids=[each.ack_id for each in held[:3]])

        assert len(stream.receive_count(3)) == 3
        assert stream.receive(within=0.3) == []


def test_a_stream_holds_no_more_bytes_than_it_asked_for(pubsub: PubSub) -> None:
    pubsub.target.embedded_only(STREAM_LIMIT)
    pubsub.publish(*[b"x" * 1000] * 10)
    with pubsub.stream(max_outstanding_bytes=2500) as stream:
        held = stream.receive_count(3)
        assert len(held) == 3, "the message that crosses the line is still handed out"
        assert stream.receive(within=0.3) == []

        stream.send(ack_ids=[each.ack_id for each in held])

        assert len(stream.receive_count(3)) == 3


def test_two_streams_share_what_is_published(pubsub: PubSub) -> None:
    published: list[str] = []
    shares: tuple[list[ReceivedMessage], list[ReceivedMessage]] = ([], [])
    with pubsub.stream() as one, pubsub.stream() as other:

        def both_have_some() -> bool:
            # Nothing tells when the server has seen both: until then, everything goes to one of them.
            published.extend(pubsub.publish(*[b"x"] * 20))
            for stream, share in zip((one, other), shares, strict=True):
                share.extend(stream.receive(within=0.1))
            return all(shares)

        eventually(both_have_some, within=8)

    given = [received.message.message_id for share in shares for received in share]
    assert len(given) == len(set(given)), "each message goes to one of them"
    assert set(given) <= set(published)


def test_a_stream_that_is_gone_is_given_nothing(pubsub: PubSub) -> None:
    with pubsub.stream() as stream:
        pubsub.publish(b"one")
        pubsub.ack(*stream.receive_count(1))
    pubsub.publish(b"two")

    assert eventually(pubsub.pull_now)[0].message.data == b"two"


def test_closing_the_sending_side_ends_the_stream(pubsub: PubSub) -> None:
    with pubsub.stream() as stream:
        stream.half_close()

        assert stream.ended.wait(5)
        assert stream.error is None


def test_deleting_the_subscription_ends_the_stream(pubsub: PubSub) -> None:
    with pubsub.stream() as stream:
        pubsub.publish(b"one")
        stream.receive_count(1)
        path = pubsub.subscription_path("the-subscription")
        pubsub.subscriber.delete_subscription(subscription=path, retry=None, timeout=10)

        assert stream.ended.wait(5)
        assert isinstance(stream.error, NotFound)


def test_a_push_subscription_has_no_streams(pubsub: PubSub) -> None:
    pubsub.target.embedded_only("it does not check this")
    pubsub.subscription("the-pushed", push_config={"push_endpoint": "http://127.0.0.1:9/nobody"})

    with pubsub.stream("the-pushed") as stream:
        assert stream.ended.wait(5)
        assert isinstance(stream.error, FailedPrecondition)
