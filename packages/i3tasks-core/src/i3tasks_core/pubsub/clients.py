"""Clients for Pub/Sub, made when first needed and never shared with another process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from i3tasks_core.config import PubSubConfig
from i3tasks_core.errors import PubSubError, PubSubMissing, PubSubUnavailable

_RETRIED = {
    "name": [{"service": "google.pubsub.v1.Publisher", "method": "Publish"}],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}
"""https://github.com/grpc/grpc/blob/master/doc/service_config.md"""

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 4 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    # gRPC would wait up to two minutes before it looks again whether Pub/Sub is back.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.service_config", json.dumps({"methodConfig": [_RETRIED]})),
]
_HOST = "pubsub.googleapis.com:443"


class Clients:
    """The publisher's and the subscriber's client of one configuration.

    gRPC does not survive a fork: a client used in a forked child hangs. So they are kept by process id.
    """

    def __init__(self, config: PubSubConfig) -> None:
        self.config = config
        self._made: dict[tuple[int, str], Any] = {}
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """A child may be forked while somebody holds it. Reentrant: making a method makes its client."""
        self._lock = threading.RLock()

    def publisher(self) -> Any:
        """The generated ``PublisherClient``: one call, one answer, no threads of its own."""
        return self._get("publisher", self._make_publisher)

    def subscriber(self) -> Any:
        return self._get("subscriber", self._make_subscriber)

    def rpc(self, method: str) -> Any:
        """A method that every task needs, on the raw protobufs: ``Publish``, ``Pull`` or ``Acknowledge``.

        proto-plus and the generated client cost twice the CPU of the request itself. Retries while Pub/Sub is
        unavailable are the channel's.
        """
        return self._get(method, lambda: self._make_rpc(method))

    def close(self) -> None:
        """Close what this process has opened; the next use opens anew."""
        with self._lock:
            made, self._made = self._made, {}
        for (pid, _kind), client in made.items():
            if pid == os.getpid() and hasattr(client, "transport"):
                client.transport.close()

    def _get(self, kind: str, make: Callable[[], Any]) -> Any:
        key = (os.getpid(), kind)
        client = self._made.get(key)
        if client is None:
            with self._lock:
                client = self._made.get(key)
                if client is None:
                    client = self._made[key] = make()
        return client

    def _make_publisher(self) -> Any:
        from google.pubsub_v1.services.publisher import PublisherClient
        from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport

        return PublisherClient(transport=self._transport(PublisherGrpcTransport))

    def _make_subscriber(self) -> Any:
        from google.pubsub_v1.services.subscriber import SubscriberClient
        from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport

        return SubscriberClient(transport=self._transport(SubscriberGrpcTransport))

    def _make_rpc(self, method: str) -> Any:
        from google.protobuf.empty_pb2 import Empty
        from google.pubsub_v1 import types

        service, request, response = {
            "Publish": ("Publisher", types.PublishRequest.pb(), types.PublishResponse.pb()),
            "Pull": ("Subscriber", types.PullRequest.pb(), types.PullResponse.pb()),
            "Acknowledge": ("Subscriber", types.AcknowledgeRequest.pb(), Empty),
        }[method]
        client = self.publisher() if service == "Publisher" else self.subscriber()
        return client.transport.grpc_channel.unary_unary(
            f"/google.pubsub.v1.{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _transport(self, transport: Any) -> Any:
        # An explicit channel: PUBSUB_EMULATOR_HOST would change the process and limit messages to 4 MiB.
        import grpc

        if self.config.emulator:
            channel = grpc.insecure_channel(self.config.host or "", options=_CHANNEL_OPTIONS)
        else:
            credentials = self._credentials(transport)
            channel = transport.create_channel(_HOST, credentials=credentials, options=_CHANNEL_OPTIONS)
        return transport(channel=channel)

    def _credentials(self, transport: Any) -> Any:
        if self.config.credentials is None:
            return None  # the channel finds the Application Default Credentials
        from google.oauth2 import service_account

        path = self.config.credentials
        try:
            return service_account.Credentials.from_service_account_file(path, scopes=transport.AUTH_SCOPES)
        except (OSError, ValueError) as error:
            raise PubSubError(f"the credentials in {path} cannot be used: {_first_line(error)}") from error


def bounded(seconds: float) -> dict[str, Any]:
    """Options of a call that may take so long in all; the client's own would go on for minutes."""
    from google.api_core import exceptions, retry

    again = retry.if_exception_type(exceptions.ServiceUnavailable)
    return {
        "timeout": seconds,
        "retry": retry.Retry(predicate=again, initial=0.05, maximum=0.5, timeout=seconds),
    }


def routed(field: str, path: str) -> tuple[tuple[str, str]]:
    """The header by which Google finds the resource: https://google.aip.dev/client-libraries/4222."""
    return (("x-goog-request-params", f"{field}={path}"),)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn Google's exceptions into ours: missing, unavailable, or refused.

    Raises:
        PubSubMissing: the topic or subscription does not exist.
        PubSubUnavailable: no answer in time, no connection, no credentials to be had now.
        PubSubError: Pub/Sub refused for another reason.
    """
    import grpc
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except api.NotFound as error:
        raise PubSubMissing(f"{what}: {error.message}") from error
    except (
        api.ServerError,
        api.RetryError,
        api.TooManyRequests,
        api.Aborted,
        auth.TransportError,
        auth.DefaultCredentialsError,
    ) as error:
        raise PubSubUnavailable(f"{what}: {_first_line(error)}") from error
    except (api.GoogleAPICallError, auth.GoogleAuthError) as error:
        raise PubSubError(f"{what}: {_first_line(error)}") from error
    except grpc.RpcError as error:
        raise _translate_rpc(what, error) from error


def _translate_rpc(what: str, error: Any) -> PubSubError:
    import grpc

    code = error.code()
    text = f"{what}: {code.name} {error.details()}"
    if code is grpc.StatusCode.NOT_FOUND:
        return PubSubMissing(text)
    passing = {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNKNOWN,
    }
    return PubSubUnavailable(text) if code in passing else PubSubError(text)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
