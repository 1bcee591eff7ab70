"""The gRPC side: which call goes to which method, without generated code."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from grpc import aio

from i3tasks_emulator import wire
from i3tasks_emulator.broker import Broker
from i3tasks_emulator.errors import StatusError
from i3tasks_emulator.publisher import Publisher
from i3tasks_emulator.pull import pull
from i3tasks_emulator.streaming_pull import PullStream
from i3tasks_emulator.subscriber import Subscriber
from i3tasks_emulator.wire import Proto

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def handlers(broker: Broker, publisher: Publisher, subscriber: Subscriber) -> list[grpc.GenericRpcHandler]:
    """The two services of the API, to be added to a grpc.aio server."""
    return [
        grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", _publisher(publisher)),
        grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", _subscriber(broker, subscriber)),
    ]


def _publisher(publisher: Publisher) -> dict[str, Handler]:
    return {
        "CreateTopic": _unary(publisher.create_topic, wire.Topic),
        "GetTopic": _unary(publisher.get_topic, wire.GetTopicRequest),
        "UpdateTopic": _unary(publisher.update_topic, wire.UpdateTopicRequest),
        "ListTopics": _unary(publisher.list_topics, wire.ListTopicsRequest),
        "ListTopicSubscriptions": _unary(
            publisher.list_topic_subscriptions, wire.ListTopicSubscriptionsRequest
        ),
        "DeleteTopic": _unary(publisher.delete_topic, wire.DeleteTopicRequest),
        "Publish": _unary(publisher.publish, wire.PublishRequest),
    }


def _subscriber(broker: Broker, subscriber: Subscriber) -> dict[str, Handler]:
    return {
        "CreateSubscription": _unary(subscriber.create_subscription, wire.Subscription),
        "GetSubscription": _unary(subscriber.get_subscription, wire.GetSubscriptionRequest),
        "UpdateSubscription": _unary(subscriber.update_subscription, wire.UpdateSubscriptionRequest),
        "ListSubscriptions": _unary(subscriber.list_subscriptions, wire.ListSubscriptionsRequest),
        "DeleteSubscription": _unary(subscriber.delete_subscription, wire.DeleteSubscriptionRequest),
        "ModifyPushConfig": _unary(subscriber.modify_push_config, wire.ModifyPushConfigRequest),
        "Acknowledge": _unary(subscriber.acknowledge, wire.AcknowledgeRequest),
        "ModifyAckDeadline": _unary(subscriber.modify_ack_deadline, wire.ModifyAckDeadlineRequest),
        "Pull": _pull(broker),
        "StreamingPull": _streaming_pull(broker),
    }


def _unary(method: Callable[[Proto], Proto], request_class: Any) -> Handler:
    async def call(request: Proto, context: Context) -> Proto:
        try:
            return method(request)
        except StatusError as error:
            await _abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request_class.FromString, response_serializer=_serialize
    )


def _pull(broker: Broker) -> Handler:
    async def call(request: Proto, context: Context) -> Proto:
        try:
            return await pull(broker, request, context.time_remaining())
        except StatusError as error:
            await _abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=wire.PullRequest.FromString, response_serializer=_serialize
    )


def _streaming_pull(broker: Broker) -> Handler:
    # It writes to the context instead of being an async generator: a cancelled generator is cleaned up when
    # the garbage collector finds it, and until then a dead stream would still be given messages.
    async def call(requests: AsyncIterator[Proto], context: Context) -> None:
        write: Callable[[Proto], Awaitable[None]] = context.write
        try:
            first = await anext(requests, None)
            if first is not None:
                await PullStream(broker, first).run(requests, write)
        except StatusError as error:
            await _abort(context, error)

    return grpc.stream_stream_rpc_method_handler(
        call, request_deserializer=wire.StreamingPullRequest.FromString, response_serializer=_serialize
    )


async def _abort(context: Context, error: StatusError) -> NoReturn:
    await context.abort(error.code, error.message)


def _serialize(message: Proto) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized
