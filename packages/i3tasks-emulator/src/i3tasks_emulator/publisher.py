"""google.pubsub.v1.Publisher: what a topic can be asked."""

from i3tasks_emulator.broker import Broker, Topic
from i3tasks_emulator.errors import already_exists
from i3tasks_emulator.message import check_messages
from i3tasks_emulator.names import check_name, check_project
from i3tasks_emulator.page import page_of
from i3tasks_emulator.update import updated
from i3tasks_emulator.wire import (
    EMPTY,
    ListTopicsResponse,
    ListTopicSubscriptionsResponse,
    Proto,
    PublishResponse,
)

_IMMUTABLE = frozenset({"name"})


class Publisher:
    """Each method answers the call it is named after: request in, response out, or StatusError."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, topic: Proto) -> Proto:
        check_name(topic.name, "topics")
        if topic.name in self._broker.topics:
            raise already_exists("Topic already exists", topic.name)
        self._broker.topics[topic.name] = Topic(topic)
        return topic

    def get_topic(self, request: Proto) -> Proto:
        return self._broker.topic(request.topic).settings

    def update_topic(self, request: Proto) -> Proto:
        topic = self._broker.topic(request.topic.name)
        topic.settings = updated(topic.settings, request.topic, request.update_mask, immutable=_IMMUTABLE)
        return topic.settings

    def list_topics(self, request: Proto) -> Proto:
        check_project(request.project)
        topics = self._broker.topics
        names, token = page_of((name for name in topics if name.startswith(f"{request.project}/")), request)
        return ListTopicsResponse(topics=[topics[name].settings for name in names], next_page_token=token)

    def list_topic_subscriptions(self, request: Proto) -> Proto:
        names, token = page_of(self._broker.topic(request.topic).subscriptions, request)
        return ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def delete_topic(self, request: Proto) -> Proto:
        self._broker.delete_topic(request.topic)
        return EMPTY

    def publish(self, request: Proto) -> Proto:
        topic = self._broker.topic(request.topic)
        messages = list(request.messages)
        check_messages(messages, request.ByteSize())
        return PublishResponse(message_ids=self._broker.publish(topic, messages))
