"""The push loop and its HTTP client against servers that misbehave, in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from i3tasks_emulator.http_client import Endpoint, HttpClient, HttpError
from i3tasks_emulator.oidc import TokenIssuer
from i3tasks_emulator.push import PushService
from i3tasks_emulator.settings import complete
from i3tasks_emulator.subscription import Subscription
from i3tasks_emulator.wire import PubsubMessage
from i3tasks_emulator.wire import Subscription as Settings

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """An HTTP server made by hand; gives its URL, and waits at the end until every client has hung up."""
    served: list[asyncio.Task[None]] = []

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve_and_close, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/push"
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*served), 10)


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    return head + await reader.readexactly(length)


def answering(*answers: bytes) -> tuple[list[int], Serve]:
    """A server that gives these answers one after the other, and counts the requests of each connection."""
    connections: list[int] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        while left:
            await request_of(reader)
            connections[-1] += 1
            answer = left.pop(0)
            writer.write(answer)
            await writer.drain()
            if b"until the end" in answer:
                return

    return connections, serve


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "connections"),
    [
        (NO_CONTENT, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", 2),
        (b"HTTP/1.1 102 Processing\r\n\r\n", 2),
    ],
    ids=["empty", "length", "chunked", "continue", "close", "http-1.0", "unbounded", "huge", "processing"],
)
def test_a_connection_is_kept_only_when_its_next_answer_is_the_next_one(
    first: bytes, connections: int
) -> None:
    async def scenario() -> tuple[int, int, int]:
        opened, serve = answering(first, NO_CONTENT)
        client = HttpClient()
        async with listening(serve) as url:
            endpoint = Endpoint.of(url)
            statuses = [await client.post(endpoint, {}, b"{}") for _ in range(2)]
            client.close()
        return statuses[0], statuses[1], len(opened)

    status, second, opened = asyncio.run(scenario())

    assert status == (102 if b"102" in first else 204 if first == NO_CONTENT else 200)
    assert second == 204
    assert opened == connections


def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    async def scenario() -> int:
        connections = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            await request_of(reader)
            writer.write(NO_CONTENT)
            await writer.drain()

        client = HttpClient()
        async with listening(serve) as url:
            for _ in range(3):
                assert await client.post(Endpoint.of(url), {}, b"{}") == 204
            client.close()
        return len(connections)

    assert asyncio.run(scenario()) == 3


def test_what_is_not_http_is_an_error() -> None:
    async def scenario() -> None:
        _, serve = answering(b"SSH-2.0-OpenSSH\r\n\r\n")
        async with listening(serve) as url:
            await HttpClient().post(Endpoint.of(url), {}, b"{}")

    with pytest.raises(HttpError):
        asyncio.run(scenario())


def test_a_request_is_abandoned_before_its_lease_ends() -> None:
    """A lease of a second, which no client may ask for, so that this takes no longer."""

    async def scenario() -> tuple[list[float], list[float]]:
        loop = asyncio.get_running_loop()
        asked_at: list[float] = []
        abandoned_at: list[float] = []
        twice = asyncio.Event()

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request_of(reader)
            asked_at.append(loop.time())
            if len(asked_at) == 2:
                twice.set()
            await reader.read()
            abandoned_at.append(loop.time())

        push = PushService(TokenIssuer())
        async with listening(never_answer) as url:
            settings = Settings(name="projects/p/subscriptions/the-subscription", topic="projects/p/topics/t")
            settings.push_config.push_endpoint = url
            complete(settings)
            settings.ack_deadline_seconds = 1
            subscription = Subscription(settings, "0-1", lambda topic, letter: False)
            push.follow(subscription)
            subscription.enqueue([PubsubMessage(data=b"slow")], [4])
            await asyncio.wait_for(twice.wait(), 10)
            await push.close()
        return asked_at, abandoned_at

    asked_at, abandoned_at = asyncio.run(scenario())

    assert 0.9 < abandoned_at[0] - asked_at[0] < 5
    assert asked_at[1] >= abandoned_at[0], "never two requests for one message at once"
