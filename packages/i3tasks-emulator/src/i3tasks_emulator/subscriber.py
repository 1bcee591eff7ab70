"""google.pubsub.v1.Subscriber: what a subscription can be asked, all but the two ways to pull."""

from i3tasks_emulator.broker import Broker
from i3tasks_emulator.errors import already_exists, not_found
from i3tasks_emulator.names import check_name, check_project
from i3tasks_emulator.page import page_of
from i3tasks_emulator.push import PushService
from i3tasks_emulator.settings import complete
from i3tasks_emulator.settle import acknowledge, check_ack_ids, modify_ack_deadline
from i3tasks_emulator.subscription import Subscription
from i3tasks_emulator.update import updated
from i3tasks_emulator.wire import EMPTY, ListSubscriptionsResponse, Proto, copy_of

_IMMUTABLE = frozenset({"name", "topic", "filter", "enable_message_ordering"})


class Subscriber:
    """Each method answers the call it is named after: request in, response out, or StatusError."""

    def __init__(self, broker: Broker, push: PushService) -> None:
        self._broker = broker
        self._push = push

    def create_subscription(self, settings: Proto) -> Proto:
        check_name(settings.name, "subscriptions")
        if settings.name in self._broker.subscriptions:
            raise already_exists("Subscription already exists", settings.name)
        if settings.topic not in self._broker.topics:
            check_name(settings.topic, "topics")
            raise not_found("Subscription topic does not exist", settings.topic)
        self._complete(settings)
        self._push.follow(self._broker.subscribe(settings))
        return settings

    def get_subscription(self, request: Proto) -> Proto:
        return self._broker.subscription(request.subscription).settings

    def update_subscription(self, request: Proto) -> Proto:
        subscription = self._broker.subscription(request.subscription.name)
        settings = updated(
            subscription.settings, request.subscription, request.update_mask, immutable=_IMMUTABLE
        )
        self._configure(subscription, settings)
        return settings

    def modify_push_config(self, request: Proto) -> Proto:
        subscription = self._broker.subscription(request.subscription)
        settings = copy_of(subscription.settings)
        settings.push_config.CopyFrom(request.push_config)
        self._configure(subscription, settings)
        return EMPTY

    def list_subscriptions(self, request: Proto) -> Proto:
        check_project(request.project)
        known = self._broker.subscriptions
        names, token = page_of((name for name in known if name.startswith(f"{request.project}/")), request)
        return ListSubscriptionsResponse(
            subscriptions=[known[name].settings for name in names], next_page_token=token
        )

    def delete_subscription(self, request: Proto) -> Proto:
        subscription = self._broker.subscription(request.subscription)
        self._broker.unsubscribe(subscription)
        self._push.forget(subscription)
        return EMPTY

    def acknowledge(self, request: Proto) -> Proto:
        subscription = self._broker.subscription(request.subscription)
        check_ack_ids(request.ack_ids)
        acknowledge(subscription, request.ack_ids)
        return EMPTY

    def modify_ack_deadline(self, request: Proto) -> Proto:
        subscription = self._broker.subscription(request.subscription)
        check_ack_ids(request.ack_ids)
        seconds = request.ack_deadline_seconds
        modify_ack_deadline(subscription, ((ack_id, seconds) for ack_id in request.ack_ids))
        return EMPTY

    def _configure(self, subscription: Subscription, settings: Proto) -> None:
        self._complete(settings)
        subscription.configure(settings)
        self._push.follow(subscription)

    def _complete(self, settings: Proto) -> None:
        complete(settings)
        dead_letters = settings.dead_letter_policy.dead_letter_topic
        if settings.HasField("dead_letter_policy") and dead_letters not in self._broker.topics:
            raise not_found("Dead letter topic not found", dead_letters)
