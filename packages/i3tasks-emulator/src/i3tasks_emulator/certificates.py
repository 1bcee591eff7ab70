"""The certificates of the push tokens over HTTP, in the shape of Google's own endpoint."""

import asyncio
import contextlib
import json
from email.utils import formatdate

from i3tasks_emulator.oidc import TokenIssuer

PATH = "/oauth2/v1/certs"
_MAX_AGE_SECONDS = 3_600
_PATIENCE_SECONDS = 10


class CertificateServer:
    """Answers `GET /oauth2/v1/certs` with the map of key ids to x509 certificates, and 404 to all else."""

    def __init__(self, tokens: TokenIssuer) -> None:
        self._tokens = tokens
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, on a free port if `port` is 0, and return the port; raises OSError if it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: certificates are fetched once an hour."""
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError), contextlib.closing(writer):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.partition(b"\r\n")[0]))
                await writer.drain()

    def _answer(self, request_line: bytes) -> bytes:
        method, _, rest = request_line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method != b"GET" or path != PATH.encode():
            return _http("404 Not Found", "no-store", b"{}")
        body = json.dumps(self._tokens.certificates()).encode()
        return _http("200 OK", f"public, max-age={_MAX_AGE_SECONDS}", body)


def _http(status: str, cache_control: str, body: bytes) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        # Without a Date no HTTP cache keeps the answer, whatever Cache-Control says.
        f"Date: {formatdate(usegmt=True)}",
        f"Cache-Control: {cache_control}",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body
