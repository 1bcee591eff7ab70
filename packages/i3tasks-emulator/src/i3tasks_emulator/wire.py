"""The API's messages as raw protobuf classes.

google-cloud-pubsub installs proto-plus wrappers. The raw class lies under each of them, and reading a field
through it is several times cheaper, so nothing in this package touches a wrapper.
"""

from typing import Any, TypeAlias

from google.protobuf import duration_pb2, empty_pb2, timestamp_pb2
from google.pubsub_v1.types import pubsub

Proto: TypeAlias = Any
"""A raw protobuf message of the API. Its class is made at run time, so no checker knows its fields."""

Topic = pubsub.Topic.pb()
GetTopicRequest = pubsub.GetTopicRequest.pb()
UpdateTopicRequest = pubsub.UpdateTopicRequest.pb()
ListTopicsRequest = pubsub.ListTopicsRequest.pb()
ListTopicsResponse = pubsub.ListTopicsResponse.pb()
ListTopicSubscriptionsRequest = pubsub.ListTopicSubscriptionsRequest.pb()
ListTopicSubscriptionsResponse = pubsub.ListTopicSubscriptionsResponse.pb()
DeleteTopicRequest = pubsub.DeleteTopicRequest.pb()
PublishRequest = pubsub.PublishRequest.pb()
PublishResponse = pubsub.PublishResponse.pb()
PubsubMessage = pubsub.PubsubMessage.pb()

Subscription = pubsub.Subscription.pb()
GetSubscriptionRequest = pubsub.GetSubscriptionRequest.pb()
UpdateSubscriptionRequest = pubsub.UpdateSubscriptionRequest.pb()
ListSubscriptionsRequest = pubsub.ListSubscriptionsRequest.pb()
ListSubscriptionsResponse = pubsub.ListSubscriptionsResponse.pb()
DeleteSubscriptionRequest = pubsub.DeleteSubscriptionRequest.pb()
ModifyPushConfigRequest = pubsub.ModifyPushConfigRequest.pb()
PullRequest = pubsub.PullRequest.pb()
PullResponse = pubsub.PullResponse.pb()
AcknowledgeRequest = pubsub.AcknowledgeRequest.pb()
ModifyAckDeadlineRequest = pubsub.ModifyAckDeadlineRequest.pb()
StreamingPullRequest = pubsub.StreamingPullRequest.pb()
StreamingPullResponse = pubsub.StreamingPullResponse.pb()

EMPTY = empty_pb2.Empty()


def seconds(duration: duration_pb2.Duration) -> float:
    """A protobuf duration as seconds."""
    return duration.seconds + duration.nanos / 1e9


def timestamp(nanoseconds: int) -> timestamp_pb2.Timestamp:
    """Nanoseconds since the epoch as a timestamp, cut to milliseconds: the service stamps no finer."""
    whole, rest = divmod(nanoseconds // 1_000_000, 1_000)
    return timestamp_pb2.Timestamp(seconds=whole, nanos=rest * 1_000_000)


def copy_of(message: Proto) -> Proto:
    """A deep copy: what was handed out or stored is never changed behind its holder's back."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
