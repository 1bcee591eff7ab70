"""Push: one loop for each push subscription, and the set of these loops."""

import asyncio
import logging

from i3tasks_emulator.backoff import AFTER_FAILED_PUSH
from i3tasks_emulator.consumer import Consumer
from i3tasks_emulator.http_client import Endpoint, HttpClient, HttpError
from i3tasks_emulator.message import Delivery
from i3tasks_emulator.oidc import TokenIssuer
from i3tasks_emulator.push_envelope import push_envelope
from i3tasks_emulator.subscription import Subscription
from i3tasks_emulator.wire import Proto

# The statuses the service takes for an ack: https://cloud.google.com/pubsub/docs/push#receive_push
ACKED_BY = frozenset({102, 200, 201, 202, 204})
FIRST_WINDOW = 8
MAX_WINDOW = 64

# A request is abandoned this long before its lease ends, so one message is never under way twice.
_LEASE_MARGIN_SECONDS = 2.0

_log = logging.getLogger(__name__)


class PushLoop:
    """Pushes the messages of one subscription to one endpoint.

    As many requests are open at once as the window allows. It starts small, grows by one with every success
    and is halved by every failure: an endpoint that struggles is left in peace.
    """

    def __init__(self, subscription: Subscription, client: HttpClient, tokens: TokenIssuer) -> None:
        """The subscription's push config is that of this moment; another config is another loop."""
        self.config: Proto = subscription.settings.push_config
        self._subscription = subscription
        self._client = client
        self._tokens = tokens
        self._endpoint = Endpoint.of(self.config.push_endpoint)
        self._window = Consumer(max_messages=FIRST_WINDOW)
        self._requests: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Start no more requests; those under way come to their end and are settled."""
        self._task.cancel()

    async def abort(self) -> None:
        """Stop, and drop the requests under way too."""
        tasks = [self._task, *self._requests]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        subscription, window = self._subscription, self._window
        with subscription.attached(window):
            while subscription.closed_by is None:
                window.wake.clear()
                lease_seconds = subscription.lease_seconds + _LEASE_MARGIN_SECONDS
                for ack_id, delivery in subscription.take(window, MAX_WINDOW, lease_seconds=lease_seconds):
                    self._start(ack_id, delivery, lease_seconds - _LEASE_MARGIN_SECONDS)
                await window.wake.wait()

    def _start(self, ack_id: str, delivery: Delivery, patience: float) -> None:
        task = asyncio.create_task(self._push(ack_id, delivery, patience))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _push(self, ack_id: str, delivery: Delivery, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                status = await self._client.post(
                    self._endpoint, self._headers(), push_envelope(delivery, self._subscription)
                )
        except (OSError, EOFError, HttpError, ValueError, asyncio.LimitOverrunError) as error:
            _log.debug("push to %s failed: %r", self.config.push_endpoint, error)
            status = 0
        self._settle(ack_id, acked=status in ACKED_BY)

    def _settle(self, ack_id: str, *, acked: bool) -> None:
        window = self._window
        if acked:
            window.max_messages = min(MAX_WINDOW, window.max_messages + 1)
            self._subscription.ack(ack_id)
        else:
            window.max_messages = max(1, window.max_messages // 2)
            self._subscription.nack(ack_id, AFTER_FAILED_PUSH)
        window.wake.set()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "CloudPubSub-Google"}
        if self.config.HasField("oidc_token"):
            identity = self.config.oidc_token
            audience = identity.audience or self.config.push_endpoint
            headers["Authorization"] = (
                f"Bearer {self._tokens.token(identity.service_account_email, audience)}"
            )
        return headers


class PushService:
    """Which subscription has a push loop."""

    def __init__(self, tokens: TokenIssuer) -> None:
        self._client = HttpClient()
        self._tokens = tokens
        self._loops: dict[str, PushLoop] = {}

    def follow(self, subscription: Subscription) -> None:
        """Call after the settings of a subscription changed: starts, replaces or stops its loop."""
        loop = self._loops.get(subscription.name)
        if loop is not None and loop.config == subscription.settings.push_config:
            return
        self.forget(subscription)
        if subscription.is_push:
            self._loops[subscription.name] = PushLoop(subscription, self._client, self._tokens)

    def forget(self, subscription: Subscription) -> None:
        """The subscription is gone, or no push one any more."""
        loop = self._loops.pop(subscription.name, None)
        if loop is not None:
            loop.stop()

    async def close(self) -> None:
        """Drop everything that is under way and close the connections."""
        for loop in self._loops.values():
            await loop.abort()
        self._client.close()
