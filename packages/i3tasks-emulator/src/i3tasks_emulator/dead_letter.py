"""Dead letters: what a message looks like when it has been refused too often."""

from i3tasks_emulator.message import Delivery
from i3tasks_emulator.wire import Proto, copy_of


def dead_letter(delivery: Delivery, subscription_name: str) -> Proto:
    """A copy of the message with the four attributes that Google adds.

    https://cloud.google.com/pubsub/docs/handling-failures#how_dead_letter_topics_work
    """
    _, project, _, subscription = subscription_name.split("/")
    letter = copy_of(delivery.message)
    letter.attributes["CloudPubSubDeadLetterSourceSubscription"] = subscription
    letter.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project
    letter.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = str(delivery.attempts)
    letter.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = (
        delivery.message.publish_time.ToJsonString()
    )
    return letter
