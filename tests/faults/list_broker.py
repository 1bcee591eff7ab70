"""A Pub/Sub that a test drives by hand: a list of messages, any of which may be lost, repeated, overtaken."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from django.db import connection

from i3tasks_core.errors import PubSubError
from i3tasks_core.pubsub.publisher import Message
from i3tasks_core.pubsub.subscriber import Received
from i3tasks_django.delivery import Delivery
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.runtime import runtime


class Broker:
    """Holds messages; whoever asks gets any of them.

    Attributes:
        is_away: takes nothing.
        wrong: messages that should not have been sent. Whoever publishes must bear any error of ours, so it
            is not raised there.
    """

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self.is_away = False
        self.wrong: list[str] = []
        self._numbers = count(1)

    def take(self, rung: Sequence[Message]) -> None:
        """What a publisher hands over."""
        if self.is_away:
            raise PubSubError("the broker is away")
        delivery = Delivery(runtime())
        for data, attributes in rung:
            bell = delivery.read(data, attributes)
            is_there = TaskExecutionTry.objects.filter(
                pk=bell.try_id, task_execution=bell.execution_id
            ).exists()
            if connection.in_atomic_block or not is_there:
                self.wrong.append(f"rung for what is not committed: {bell}")
            number = str(next(self._numbers))
            self.messages.append(Received(number, number, data, attributes))

    def forget(self, messages: Sequence[Received]) -> None:
        gone = {message.ack_id for message in messages}
        self.messages = [message for message in self.messages if message.ack_id not in gone]
