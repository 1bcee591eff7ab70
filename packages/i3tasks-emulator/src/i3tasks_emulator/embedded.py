"""The server inside this process, for tests."""

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from i3tasks_emulator.server import RunningServer, serve

_START_SECONDS = 20
_STOP_SECONDS = 10


class EmbeddedPubSub:
    """A Pub/Sub on a thread of this process, started and stopped by hand or by `with`.

    It shares the interpreter's lock with whoever uses it and is in the way of forks: good for tests, while
    anything longer runs `python -m i3tasks_emulator` as a process of its own. After `stop` it can be started
    again: it has then forgotten everything, and listens on the same ports if they were given.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, http_port: int = 0) -> None:
        """Port 0 picks a free one at each start. Nothing happens before `start`."""
        self._listen_on = (host, port, http_port)
        self._server: RunningServer | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def target(self) -> str:
        """The gRPC address, `HOST:PORT`; raises RuntimeError while stopped."""
        return self._running().target

    @property
    def port(self) -> int:
        """The gRPC port; raises RuntimeError while stopped."""
        return int(self.target.rpartition(":")[2])

    @property
    def certs_url(self) -> str:
        """Where the certificates of the push tokens are; raises RuntimeError while stopped."""
        return self._running().certs_url

    def start(self) -> Self:
        """Return when it answers. Raises OSError if it cannot listen, RuntimeError if it runs already."""
        if self._server is not None:
            raise RuntimeError("the embedded Pub/Sub runs already")
        started: Future[RunningServer] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="embedded-pubsub", daemon=True
        )
        self._thread.start()
        self._server = started.result(_START_SECONDS)
        return self

    def stop(self) -> None:
        """End every call, close the ports and forget everything. Does nothing while stopped."""
        if self._server is None or self._loop is None or self._stop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_SECONDS)
        self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> RunningServer:
        if self._server is None:
            raise RuntimeError("the embedded Pub/Sub is not running")
        return self._server

    async def _run(self, started: "Future[RunningServer]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await serve(*self._listen_on)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that called start
            started.set_exception(error)
            return
        started.set_result(server)
        await self._stop.wait()
        await server.stop()
