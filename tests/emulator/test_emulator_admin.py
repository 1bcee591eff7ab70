"""Topics and subscriptions as things that are made, changed, listed and deleted."""

import pytest
from emulator_client import PubSub, duration
from google.api_core.exceptions import InvalidArgument, NotFound
from google.pubsub_v1.types import Subscription


@pytest.fixture(autouse=True)
def the_topic(pubsub: PubSub) -> None:
    pubsub.topic()


def get(pubsub: PubSub, name: str = "the-subscription") -> Subscription:
    path = pubsub.subscription_path(name)
    return pubsub.subscriber.get_subscription(subscription=path, retry=None, timeout=10)


def update(pubsub: PubSub, *paths: str, **settings: object) -> Subscription:
    request = {
        "subscription": {"name": pubsub.subscription_path("the-subscription"), **settings},
        "update_mask": {"paths": paths},
    }
    return pubsub.subscriber.update_subscription(request=request, retry=None, timeout=10)


def test_a_new_subscription_has_the_defaults_of_the_service(pubsub: PubSub) -> None:
    path = pubsub.subscription()

    subscription = get(pubsub)

    assert subscription.name == path
    assert subscription.topic == pubsub.topic_path("the-topic")
    assert subscription.ack_deadline_seconds == 10
    assert subscription.message_retention_duration.total_seconds() == 7 * 24 * 3600
    assert subscription.push_config.push_endpoint == ""
    assert "retry_policy" not in subscription
    assert "dead_letter_policy" not in subscription


def test_policies_are_completed(pubsub: PubSub) -> None:
    dead_letters = {"dead_letter_topic": pubsub.topic_path("the-topic")}
    pubsub.subscription(retry_policy={}, dead_letter_policy=dead_letters)

    subscription = get(pubsub)

    assert subscription.retry_policy.minimum_backoff.total_seconds() == 10
    assert subscription.retry_policy.maximum_backoff.total_seconds() == 600
    assert subscription.dead_letter_policy.max_delivery_attempts == 5


def test_an_update_changes_what_the_mask_names_and_nothing_else(pubsub: PubSub) -> None:
    pubsub.subscription(labels={"a": "b"})

    updated = update(pubsub, "ack_deadline_seconds", ack_deadline_seconds=33, labels={"c": "d"})

    assert updated.ack_deadline_seconds == 33
    assert dict(updated.labels) == {"a": "b"}
    assert get(pubsub) == updated


def test_an_update_sets_and_clears_a_policy(pubsub: PubSub) -> None:
    pubsub.subscription()

    update(pubsub, "retry_policy", retry_policy={"minimum_backoff": duration(2)})
    assert get(pubsub).retry_policy.minimum_backoff.total_seconds() == 2
    assert get(pubsub).retry_policy.maximum_backoff.total_seconds() == 600

    update(pubsub, "retry_policy")
    assert "retry_policy" not in get(pubsub)


def test_an_update_that_is_refused_changes_nothing(pubsub: PubSub) -> None:
    pubsub.subscription()
    before = get(pubsub)

    with pytest.raises(InvalidArgument):
        update(pubsub, "ack_deadline_seconds", "labels", ack_deadline_seconds=601, labels={"a": "b"})

    assert get(pubsub) == before


def test_lists_come_in_pages(pubsub: PubSub) -> None:
    names = [pubsub.subscription(f"page-{number}") for number in range(5)]
    request = {"topic": pubsub.topic_path("the-topic"), "page_size": 2}

    pages = pubsub.publisher.list_topic_subscriptions(request=request, retry=None, timeout=10).pages
    listed = [list(page.subscriptions) for page in pages]

    assert [len(page) for page in listed] == [2, 2, 1]
    assert sorted(name for page in listed for name in page) == names


def test_a_list_holds_its_own_project_only(pubsub: PubSub) -> None:
    pubsub.topic("the-other")
    pubsub.subscription()
    subscriptions = pubsub.subscriber.list_subscriptions(project=pubsub.project, timeout=10)
    topics = pubsub.publisher.list_topics(project=pubsub.project, timeout=10)

    assert [each.name for each in subscriptions] == [pubsub.subscription_path("the-subscription")]
    assert sorted(each.name for each in topics) == [
        pubsub.topic_path("the-other"),
        pubsub.topic_path("the-topic"),
    ]


def test_a_deleted_topic_leaves_its_subscriptions_with_what_they_hold(pubsub: PubSub) -> None:
    pubsub.subscription()
    pubsub.publish(b"still here")

    pubsub.publisher.delete_topic(topic=pubsub.topic_path("the-topic"), retry=None, timeout=10)

    assert get(pubsub).topic == "_deleted-topic_"
    assert pubsub.pull_one().message.data == b"still here"
    with pytest.raises(NotFound):
        pubsub.publish(b"to nowhere")


def test_a_topic_made_again_does_not_get_its_subscriptions_back(pubsub: PubSub) -> None:
    pubsub.subscription()
    pubsub.publisher.delete_topic(topic=pubsub.topic_path("the-topic"), retry=None, timeout=10)
    pubsub.topic()
    pubsub.subscription("the-new-one")

    pubsub.publish(b"one")

    assert pubsub.pull_one("the-new-one").message.data == b"one"
    assert pubsub.pull_now() == []
    assert get(pubsub).topic == "_deleted-topic_"


def test_a_subscription_made_again_starts_empty(pubsub: PubSub) -> None:
    path = pubsub.subscription()
    pubsub.publish(b"one")
    pubsub.subscriber.delete_subscription(subscription=path, retry=None, timeout=10)
    pubsub.subscription()

    assert pubsub.pull_now() == []


@pytest.mark.parametrize(
    ("expression", "passing"),
    [
        ('attributes.color = "red"', ["red"]),
        ('attributes.color="red"', ["red"]),
        ('attributes.color != "red"', ["blue", "none"]),
        ("attributes:color", ["blue", "red"]),
        ("NOT attributes:color", ["none"]),
        ('-attributes.color = "red"', ["blue", "none"]),
        ('hasPrefix(attributes.color, "re")', ["red"]),
        ('attributes:color AND attributes.color != "red"', ["blue"]),
        ('attributes.size = "a AND b"', ["none"]),
    ],
)
def test_a_filter_lets_pass_what_matches(pubsub: PubSub, expression: str, passing: list[str]) -> None:
    pubsub.subscription(filter=expression)
    pubsub.publish(b"red", color="red")
    pubsub.publish(b"blue", color="blue")
    pubsub.publish(b"none", size="a AND b")

    received = {each.message.data.decode() for each in pubsub.pull_now()}

    everything = {"red", "blue", "none"}
    assert received == pubsub.target.differs(
        set(passing), google=everything, because="filters are stored, not applied"
    )


@pytest.mark.parametrize(
    "expression", ["x", "attributes.a =", 'attributes.a = "b" AND', 'attributes.a = "b" x']
)
def test_a_filter_that_is_not_understood_is_refused(pubsub: PubSub, expression: str) -> None:
    pubsub.target.embedded_only("filters are stored, not applied")

    with pytest.raises(InvalidArgument):
        pubsub.subscription(filter=expression)
