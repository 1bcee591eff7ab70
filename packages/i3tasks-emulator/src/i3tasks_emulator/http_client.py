"""Just enough HTTP/1.1 to push: POST over kept-alive connections, the status code back."""

import asyncio
import functools
import ssl
from collections import defaultdict
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

# The body of an answer is of no interest. A longer one is not read: closing the connection costs less.
_MAX_SKIPPED_BODY = 64 * 1024
_WITHOUT_BODY = frozenset({204, 304})
_PROCESSING = 102


class HttpError(Exception):
    """The other side does not speak HTTP/1.1 as expected."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A push endpoint, taken apart once and not for every message."""

    host: str
    port: int
    is_tls: bool
    authority: str
    target: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises ValueError for a URL without a host or with a bad port."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"no host in {url}")
        is_tls = parts.scheme == "https"
        return cls(
            host=parts.hostname,
            port=parts.port or (443 if is_tls else 80),
            is_tls=is_tls,
            authority=parts.netloc.rpartition("@")[2],
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_reusable = False

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        context = _tls() if endpoint.is_tls else None
        return cls(*await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context))

    async def exchange(self, request: bytes) -> int:
        self.is_reusable = False
        self._writer.write(request)
        status = 100
        # 100 and 103 announce the answer. 102 is the answer: to Pub/Sub it is an ack.
        while status < 200 and status != _PROCESSING:
            head = await self._reader.readuntil(b"\r\n\r\n")
            status, headers = _parse(head)
        # After a 102 another answer to the same request may still come: never read it as the next one's.
        self.is_reusable = status != _PROCESSING and await self._skip_body(status, headers)
        return status

    async def _skip_body(self, status: int, headers: dict[bytes, bytes]) -> bool:
        """Whether the connection is at the start of the next answer."""
        if headers.get(b"connection", b"").lower() == b"close":
            return False
        if status in _WITHOUT_BODY:
            return True
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) > _MAX_SKIPPED_BODY:
            return headers.get(b"transfer-encoding", b"").lower() == b"chunked" and await self._skip_chunks()
        await self._reader.readexactly(int(length))
        return True

    async def _skip_chunks(self) -> bool:
        skipped = 0
        while skipped <= _MAX_SKIPPED_BODY:
            size = int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16)
            if size == 0:
                # Trailers are rare: give the connection up instead of parsing them.
                return await self._reader.readuntil(b"\r\n") == b"\r\n"
            skipped += size
            if skipped <= _MAX_SKIPPED_BODY:
                await self._reader.readexactly(size + 2)
        return False

    def close(self) -> None:
        self._writer.close()


def _parse(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    lines = head.split(b"\r\n")
    version, _, rest = lines[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise HttpError(f"not an HTTP answer: {lines[0][:80]!r}")
    headers = {}
    for line in lines[1:]:
        key, _, value = line.partition(b":")
        headers[key.strip().lower()] = value.strip()
    if version == b"HTTP/1.0":
        headers.setdefault(b"connection", b"close")
    return int(rest[:3]), headers


class HttpClient:
    """Keeps idle connections for each endpoint and opens a new one when there is none."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, int, bool], list[_Connection]] = defaultdict(list)

    async def post(self, endpoint: Endpoint, headers: dict[str, str], body: bytes) -> int:
        """The status code of the answer. Cancelling it closes the connection.

        Raises:
            OSError: no connection.
            EOFError: the connection broke.
            HttpError: the answer is not HTTP/1.x. ValueError for other nonsense in it.
        """
        request = _request(endpoint, headers, body)
        idle = self._idle[endpoint.host, endpoint.port, endpoint.is_tls]
        if idle:
            try:
                return await self._exchange(idle.pop(), idle, request)
            except (OSError, EOFError):
                # The server closed it while it was idle. Perhaps it got the request before: then it gets it
                # twice, which at-least-once delivery allows.
                pass
        return await self._exchange(await _Connection.open(endpoint), idle, request)

    def close(self) -> None:
        """Close the idle connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    @staticmethod
    async def _exchange(connection: _Connection, idle: list[_Connection], request: bytes) -> int:
        try:
            return await connection.exchange(request)
        finally:
            if connection.is_reusable:
                idle.append(connection)
            else:
                connection.close()


def _request(endpoint: Endpoint, headers: dict[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {endpoint.target} HTTP/1.1",
        f"Host: {endpoint.authority}",
        *(f"{key}: {value}" for key, value in headers.items()),
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body
