"""The server: the API on a gRPC port, the certificates of the push tokens on an HTTP port."""

import errno
import os
import socket
from dataclasses import dataclass

from grpc import aio

from i3tasks_emulator.broker import Broker
from i3tasks_emulator.certificates import PATH, CertificateServer
from i3tasks_emulator.errors import unavailable
from i3tasks_emulator.oidc import TokenIssuer
from i3tasks_emulator.publisher import Publisher
from i3tasks_emulator.push import PushService
from i3tasks_emulator.rpc import handlers
from i3tasks_emulator.subscriber import Subscriber

_OPTIONS = [
    # Above the 10 MB of a publish request, so that more is refused by this server with INVALID_ARGUMENT.
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
    # A client may send as many bytes of headers as the client of the real service may.
    ("grpc.max_metadata_size", 4 << 20),
    # Two servers on one port would each see half of the calls. The second shall fail to start.
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s, also while a pull waits; by default too many pings end their connection.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]
_STOP_GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that answers.

    Attributes:
        target: the gRPC address, `HOST:PORT`.
        certs_url: where the certificates of the push tokens are.
    """

    target: str
    certs_url: str
    _broker: Broker
    _push: PushService
    _certificates: CertificateServer
    _grpc: aio.Server

    async def stop(self) -> None:
        """Answer UNAVAILABLE to waiting pulls and open streams, drop pushes under way, close the ports."""
        self._certificates.close()
        await self._push.close()
        self._broker.close(unavailable("The embedded Pub/Sub is shutting down"))
        await self._grpc.stop(_STOP_GRACE_SECONDS)


async def serve(host: str = "127.0.0.1", port: int = 0, http_port: int = 0) -> RunningServer:
    """Start an empty Pub/Sub on the running event loop. It lives until `stop` of what is returned.

    Args:
        host: the address to listen on.
        port: of gRPC; 0 picks a free one.
        http_port: of the certificates; 0 picks a free one.

    Raises:
        OSError: an address cannot be listened on, for example because the port is taken.
    """
    tokens = TokenIssuer()
    broker, push, certificates = Broker(), PushService(tokens), CertificateServer(tokens)
    server = aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers(handlers(broker, Publisher(broker), Subscriber(broker, push)))
    bound_http_port = await certificates.start(host, http_port)
    try:
        bound_port = _bind(server, host, port)
    except OSError:
        certificates.close()
        raise
    await server.start()
    return RunningServer(
        target=_address(host, bound_port),
        certs_url=f"http://{_address(host, bound_http_port)}{PATH}",
        _broker=broker,
        _push=push,
        _certificates=certificates,
        _grpc=server,
    )


def _bind(server: aio.Server, host: str, port: int) -> int:
    # gRPC would say no more than "failed to bind", and log a page beside it: a plain socket asks first.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        pass
    try:
        bound = server.add_insecure_port(_address(host, port))
    except RuntimeError as error:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from error
    if bound == 0:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return bound


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
