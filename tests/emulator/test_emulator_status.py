"""The status of every answer, call by call: what the service says, and where Google's emulator differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from emulator_client import PubSub, duration
from google.api_core.exceptions import GoogleAPICallError

Call = Callable[[PubSub], object]

OK = "OK"
ALREADY_EXISTS = "ALREADY_EXISTS"
FAILED_PRECONDITION = "FAILED_PRECONDITION"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
NOT_FOUND = "NOT_FOUND"
OUT_OF_RANGE = "OUT_OF_RANGE"
UNIMPLEMENTED = "UNIMPLEMENTED"


@dataclass(frozen=True, slots=True)
class Case:
    title: str
    call: Call
    expected: str
    google: str | None = None
    because: str = "the same"


def create_topic(name: str) -> Call:
    return lambda pubsub: pubsub.publisher.create_topic(
        name=name.format(pubsub.project), retry=None, timeout=10
    )


def create(name: str = "the-new-one", **settings: Any) -> Call:
    return lambda pubsub: pubsub.subscription(name, **settings)


def create_with_dead_letters(topic: str = "the-topic", **policy: Any) -> Call:
    return lambda pubsub: pubsub.subscription(
        "the-new-one", dead_letter_policy={"dead_letter_topic": pubsub.topic_path(topic), **policy}
    )


def create_with_retries(minimum: float | None, maximum: float | None) -> Call:
    policy = {
        name: duration(seconds)
        for name, seconds in (("minimum_backoff", minimum), ("maximum_backoff", maximum))
        if seconds is not None
    }
    return create(retry_policy=policy)


def publish(*messages: dict[str, Any], topic: str = "the-topic") -> Call:
    return lambda pubsub: pubsub.publisher.publish(
        topic=pubsub.topic_path(topic), messages=list(messages), retry=None, timeout=10
    )


def publish_attributes(**attributes: str) -> Call:
    return publish({"data": b"x", "attributes": attributes})


def of_publisher(method: str, **request: Any) -> Call:
    return lambda pubsub: getattr(pubsub.publisher, method)(
        request=expanded(request, pubsub), retry=None, timeout=10
    )


def of_subscriber(method: str, **request: Any) -> Call:
    return lambda pubsub: getattr(pubsub.subscriber, method)(
        request=expanded(request, pubsub), retry=None, timeout=10
    )


def update(*paths: str, name: str = "the-subscription", **settings: Any) -> Call:
    settings = {"name": f"{{}}/subscriptions/{name}", **settings}
    return of_subscriber("update_subscription", subscription=settings, update_mask={"paths": paths})


def stream(name: str = "the-subscription", *, held_open: bool = False, **first: Any) -> Call:
    def call(pubsub: PubSub) -> None:
        with pubsub.stream(name, **first) as open_stream:
            if not held_open:
                open_stream.half_close()
            assert open_stream.ended.wait(10)
            if open_stream.error is not None:
                raise open_stream.error

    return call


def expanded(value: Any, pubsub: PubSub) -> Any:
    """`{}` in a text stands for the project."""
    if isinstance(value, str):
        return value.format(pubsub.project)
    if isinstance(value, dict):
        return {key: expanded(each, pubsub) for key, each in value.items()}
    return value


TOPIC = "{}/topics/the-topic"
NO_TOPIC = "{}/topics/nowhere"
SUBSCRIPTION = "{}/subscriptions/the-subscription"
NO_SUBSCRIPTION = "{}/subscriptions/nowhere"
UNCHECKED = "it does not check this"

TOPICS = [
    Case("get", of_publisher("get_topic", topic=TOPIC), OK),
    Case("get one that is missing", of_publisher("get_topic", topic=NO_TOPIC), NOT_FOUND),
    Case("create it twice", create_topic(TOPIC), ALREADY_EXISTS),
    Case("create with every allowed sign", create_topic("{}/topics/Abc~+%._-9"), OK),
    Case("create with 3 letters", create_topic("{}/topics/abc"), OK),
    Case("create with 255 letters", create_topic("{}/topics/" + "a" * 255), OK),
    Case("create with 2 letters", create_topic("{}/topics/ab"), INVALID_ARGUMENT),
    Case("create with 256 letters", create_topic("{}/topics/" + "a" * 256), INVALID_ARGUMENT),
    Case("create with a digit first", create_topic("{}/topics/1abc"), INVALID_ARGUMENT),
    Case("create with goog first", create_topic("{}/topics/goog-x"), INVALID_ARGUMENT),
    Case("create with a space", create_topic("{}/topics/a b c"), INVALID_ARGUMENT),
    Case("create with a slash", create_topic("{}/topics/a/b"), INVALID_ARGUMENT),
    Case("create with a bang", create_topic("{}/topics/a!bc"), INVALID_ARGUMENT),
    Case("create with an accent", create_topic("{}/topics/é-abc"), INVALID_ARGUMENT),
    Case("create among subscriptions", create_topic("{}/subscriptions/abc"), INVALID_ARGUMENT),
    Case("create without a path", create_topic("foo"), INVALID_ARGUMENT),
    Case("create without a name", create_topic(""), INVALID_ARGUMENT),
    Case("delete", of_publisher("delete_topic", topic=TOPIC), OK),
    Case("delete one that is missing", of_publisher("delete_topic", topic=NO_TOPIC), NOT_FOUND),
    Case("list", of_publisher("list_topics", project="{}"), OK),
    Case("list an empty project", of_publisher("list_topics", project="{}-other"), OK),
    Case(
        "list what is no project",
        of_publisher("list_topics", project="zz"),
        INVALID_ARGUMENT,
        google="UNKNOWN",
        because="it fails inside",
    ),
    Case("list subscriptions", of_publisher("list_topic_subscriptions", topic=TOPIC), OK),
    Case(
        "list subscriptions of one that is missing",
        of_publisher("list_topic_subscriptions", topic=NO_TOPIC),
        NOT_FOUND,
        google=OK,
        because=UNCHECKED,
    ),
    Case(
        "update labels",
        of_publisher(
            "update_topic", topic={"name": TOPIC, "labels": {"a": "b"}}, update_mask={"paths": ["labels"]}
        ),
        OK,
        google=INVALID_ARGUMENT,
        because="it does not know the labels of a topic",
    ),
    Case(
        "update the name",
        of_publisher("update_topic", topic={"name": TOPIC}, update_mask={"paths": ["name"]}),
        INVALID_ARGUMENT,
    ),
    Case(
        "update without a mask",
        of_publisher("update_topic", topic={"name": TOPIC}),
        INVALID_ARGUMENT,
    ),
]

MESSAGES = [
    Case("one", publish({"data": b"x"}), OK),
    Case("attributes alone", publish({"attributes": {"a": "b"}}), OK),
    Case("with an id of one's own", publish({"data": b"x", "message_id": "77"}), OK),
    Case("to nowhere", publish({"data": b"x"}, topic="nowhere"), NOT_FOUND),
    Case("none", publish(), INVALID_ARGUMENT),
    Case("an empty one", publish({}), INVALID_ARGUMENT),
    Case("an empty one among others", publish({"data": b"x"}, {}), INVALID_ARGUMENT),
    Case("1,000", publish(*[{"data": b"x"}] * 1000), OK),
    Case("1,001", publish(*[{"data": b"x"}] * 1001), INVALID_ARGUMENT),
    Case("9.9 MB", publish({"data": b"x" * 9_900_000}), OK),
    Case(
        "10.1 MB",
        publish({"data": b"x" * 10_100_000}),
        INVALID_ARGUMENT,
        google=OK,
        because="its limit is that of a gRPC message",
    ),
    Case("100 attributes", publish_attributes(**{f"k{n}": "v" for n in range(100)}), OK),
    Case(
        "101 attributes",
        publish_attributes(**{f"k{n}": "v" for n in range(101)}),
        INVALID_ARGUMENT,
        google=OK,
        because=UNCHECKED,
    ),
    Case("a key of 256 bytes", publish_attributes(**{"k" * 256: "v"}), OK),
    Case(
        "a key of 257 bytes",
        publish_attributes(**{"k" * 257: "v"}),
        INVALID_ARGUMENT,
        google=OK,
        because=UNCHECKED,
    ),
    Case("a value of 1,024 bytes", publish_attributes(k="v" * 1024), OK),
    Case(
        "a value of 1,025 bytes",
        publish_attributes(k="é" * 512 + "v"),
        INVALID_ARGUMENT,
        google=OK,
        because=UNCHECKED,
    ),
    Case(
        "a key of Google's own", publish_attributes(googx="v"), INVALID_ARGUMENT, google=OK, because=UNCHECKED
    ),
    Case("an empty key", publish_attributes(**{"": "v"}), INVALID_ARGUMENT, google=OK, because=UNCHECKED),
]

SUBSCRIPTIONS = [
    Case("get", of_subscriber("get_subscription", subscription=SUBSCRIPTION), OK),
    Case(
        "get one that is missing", of_subscriber("get_subscription", subscription=NO_SUBSCRIPTION), NOT_FOUND
    ),
    Case("create it twice", create("the-subscription"), ALREADY_EXISTS),
    Case("create without a topic", create(topic="nowhere"), NOT_FOUND),
    Case("create with a bad name", create("1x"), INVALID_ARGUMENT),
    Case("create with the shortest deadline", create(ack_deadline_seconds=10), OK),
    Case("create with the longest deadline", create(ack_deadline_seconds=600), OK),
    Case("create with the default deadline", create(ack_deadline_seconds=0), OK),
    Case(
        "create with a deadline too short",
        create(ack_deadline_seconds=9),
        INVALID_ARGUMENT,
        google=OK,
        because="it takes deadlines from a second up",
    ),
    Case("create with a deadline too long", create(ack_deadline_seconds=601), INVALID_ARGUMENT),
    Case("create with a negative deadline", create(ack_deadline_seconds=-1), INVALID_ARGUMENT),
    Case("create with 5 attempts", create_with_dead_letters(max_delivery_attempts=5), OK),
    Case("create with 100 attempts", create_with_dead_letters(max_delivery_attempts=100), OK),
    Case("create with 4 attempts", create_with_dead_letters(max_delivery_attempts=4), OUT_OF_RANGE),
    Case("create with 101 attempts", create_with_dead_letters(max_delivery_attempts=101), OUT_OF_RANGE),
    Case("create with default attempts", create_with_dead_letters(), OK),
    Case("create with dead letters to nowhere", create_with_dead_letters("nowhere"), NOT_FOUND),
    Case("create with default retries", create_with_retries(None, None), OK),
    Case("create with quick retries", create_with_retries(0.1, 1), OK),
    Case("create with retries too slow", create_with_retries(1, 601), INVALID_ARGUMENT),
    Case("create with crossed retries", create_with_retries(50, 20), INVALID_ARGUMENT),
    Case("create with an endpoint", create(push_config={"push_endpoint": "http://127.0.0.1:9/x"}), OK),
    Case("create with no URL", create(push_config={"push_endpoint": "nourl"}), INVALID_ARGUMENT),
    Case("create with FTP", create(push_config={"push_endpoint": "ftp://x/y"}), INVALID_ARGUMENT),
    Case("create with a filter", create(filter='attributes.a = "b"'), OK),
    Case(
        "create with a broken filter",
        create(filter="what ever ==="),
        INVALID_ARGUMENT,
        google=OK,
        because="filters are stored, not applied",
    ),
    Case("create with short retention", create(message_retention_duration=duration(5)), INVALID_ARGUMENT),
    Case(
        "create with ordering",
        create(enable_message_ordering=True),
        UNIMPLEMENTED,
        google=OK,
        because="the embedded Pub/Sub leaves it out, and says so",
    ),
    Case(
        "create with exactly-once delivery",
        create(enable_exactly_once_delivery=True),
        UNIMPLEMENTED,
        google=OK,
        because="the embedded Pub/Sub leaves it out, and says so",
    ),
    Case(
        "create with unwrapped pushes",
        create(push_config={"push_endpoint": "http://127.0.0.1:9/x", "no_wrapper": {}}),
        UNIMPLEMENTED,
        google=OK,
        because="the embedded Pub/Sub leaves it out, and says so",
    ),
    Case("update", update("ack_deadline_seconds", ack_deadline_seconds=33), OK),
    Case("update without a mask", update(), INVALID_ARGUMENT),
    Case("update an unknown field", update("zzz"), INVALID_ARGUMENT),
    Case("update the topic", update("topic", topic=NO_TOPIC), INVALID_ARGUMENT),
    Case("update the filter", update("filter", filter='attributes.a = "b"'), INVALID_ARGUMENT),
    Case(
        "update to a bad deadline", update("ack_deadline_seconds", ack_deadline_seconds=601), INVALID_ARGUMENT
    ),
    Case("update one that is missing", update("ack_deadline_seconds", name="nowhere"), NOT_FOUND),
    Case("modify push", of_subscriber("modify_push_config", subscription=SUBSCRIPTION, push_config={}), OK),
    Case(
        "modify push of one that is missing",
        of_subscriber("modify_push_config", subscription=NO_SUBSCRIPTION, push_config={}),
        NOT_FOUND,
    ),
    Case("list", of_subscriber("list_subscriptions", project="{}"), OK),
    Case("delete", of_subscriber("delete_subscription", subscription=SUBSCRIPTION), OK),
    Case(
        "delete one that is missing",
        of_subscriber("delete_subscription", subscription=NO_SUBSCRIPTION),
        NOT_FOUND,
    ),
]

PULLS = [
    Case("nowhere", of_subscriber("pull", subscription=NO_SUBSCRIPTION, max_messages=1), NOT_FOUND),
    Case("what is no name", of_subscriber("pull", subscription="zz", max_messages=1), INVALID_ARGUMENT),
    Case("none", of_subscriber("pull", subscription=SUBSCRIPTION, max_messages=0), INVALID_ARGUMENT),
    Case(
        "from a push subscription",
        of_subscriber(
            "pull", subscription="{}/subscriptions/the-pushed", max_messages=1, return_immediately=True
        ),
        FAILED_PRECONDITION,
        google=OK,
        because=UNCHECKED,
    ),
    Case(
        "ack garbage",
        of_subscriber("acknowledge", subscription=SUBSCRIPTION, ack_ids=["zz"]),
        INVALID_ARGUMENT,
    ),
    Case(
        "ack nothing", of_subscriber("acknowledge", subscription=SUBSCRIPTION, ack_ids=[]), INVALID_ARGUMENT
    ),
    Case(
        "ack nowhere", of_subscriber("acknowledge", subscription=NO_SUBSCRIPTION, ack_ids=["zz"]), NOT_FOUND
    ),
    Case(
        "prolong garbage",
        of_subscriber(
            "modify_ack_deadline", subscription=SUBSCRIPTION, ack_ids=["zz"], ack_deadline_seconds=10
        ),
        INVALID_ARGUMENT,
    ),
    Case(
        "prolong nothing",
        of_subscriber("modify_ack_deadline", subscription=SUBSCRIPTION, ack_deadline_seconds=10),
        INVALID_ARGUMENT,
    ),
    Case(
        "prolong nowhere",
        of_subscriber("modify_ack_deadline", subscription=NO_SUBSCRIPTION, ack_ids=["zz"]),
        NOT_FOUND,
    ),
    Case(
        "prolong for too long",
        of_subscriber(
            "modify_ack_deadline", subscription=SUBSCRIPTION, ack_ids=["zz"], ack_deadline_seconds=601
        ),
        INVALID_ARGUMENT,
    ),
    Case(
        "prolong for less than nothing",
        of_subscriber(
            "modify_ack_deadline", subscription=SUBSCRIPTION, ack_ids=["zz"], ack_deadline_seconds=-1
        ),
        INVALID_ARGUMENT,
    ),
    Case("stream", stream(), OK),
    Case("stream without limits", stream(max_outstanding_messages=-1), OK),
    Case("stream without a deadline", stream(stream_ack_deadline_seconds=0), INVALID_ARGUMENT),
    Case("stream with a deadline too short", stream(stream_ack_deadline_seconds=9), INVALID_ARGUMENT),
    Case("stream with a deadline too long", stream(stream_ack_deadline_seconds=601), INVALID_ARGUMENT),
    Case("stream with a garbage ack", stream(ack_ids=["zz"]), INVALID_ARGUMENT),
    # Held open: of a stream that its client closes at once, Google's emulator may say nothing at all.
    Case("stream from nowhere", stream("nowhere", held_open=True), NOT_FOUND),
]


def titled(cases: Sequence[Case]) -> list[Any]:
    return [pytest.param(case, id=case.title.replace(" ", "-")) for case in cases]


def status_of(pubsub: PubSub, call: Call) -> str:
    pubsub.topic()
    pubsub.subscription()
    pubsub.subscription("the-pushed", push_config={"push_endpoint": "http://127.0.0.1:9/nobody"})
    try:
        call(pubsub)
    except GoogleAPICallError as error:
        return str(error.grpc_status_code.name)
    return OK


def check(pubsub: PubSub, case: Case) -> None:
    expected = case.expected
    if case.google is not None:
        expected = pubsub.target.differs(expected, google=case.google, because=case.because)
    assert status_of(pubsub, case.call) == expected


@pytest.mark.parametrize("case", titled(TOPICS))
def test_topics(pubsub: PubSub, case: Case) -> None:
    check(pubsub, case)


@pytest.mark.parametrize("case", titled(MESSAGES))
def test_messages(pubsub: PubSub, case: Case) -> None:
    check(pubsub, case)


@pytest.mark.parametrize("case", titled(SUBSCRIPTIONS))
def test_subscriptions(pubsub: PubSub, case: Case) -> None:
    check(pubsub, case)


@pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")
@pytest.mark.parametrize("case", titled(PULLS))
def test_pulls(pubsub: PubSub, case: Case) -> None:
    check(pubsub, case)


def test_pulling_less_than_nothing(pubsub: PubSub) -> None:
    pubsub.target.embedded_only("it waits as for a pull of any size")
    call = of_subscriber("pull", subscription=SUBSCRIPTION, max_messages=-1)

    assert status_of(pubsub, call) == INVALID_ARGUMENT


def test_methods_that_are_left_out(pubsub: PubSub) -> None:
    call = of_publisher("detach_subscription", subscription=SUBSCRIPTION)

    assert status_of(pubsub, call) == UNIMPLEMENTED
