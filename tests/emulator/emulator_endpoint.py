"""A push endpoint that does as it is told and remembers what it was sent."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class PushRequest:
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)

    @property
    def envelope(self) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(self.body)
        return envelope

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = self.envelope["message"]
        return message


class Endpoint:
    """`answer` says which status a request gets; it runs on the request's thread and may wait."""

    def __init__(self) -> None:
        self.answer: Callable[[PushRequest], int] = lambda request: 204
        self.requests: list[PushRequest] = []
        self.open_count = 0
        self.most_open = 0
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/push"

    def wait_for(self, count: int, within: float = 10.0) -> bool:
        """Whether there are `count` requests in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= count, within)

    def wait_until(self, check: Callable[[], bool], within: float = 10.0) -> bool:
        """Whether `check` comes true in time; it is asked at every request."""
        with self._changed:
            return self._changed.wait_for(check, within)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def respond(self, request: PushRequest) -> int:
        """Note the request and return the status it gets; called by the server."""
        with self._changed:
            self.requests.append(request)
            self.open_count += 1
            self.most_open = max(self.most_open, self.open_count)
            self._changed.notify_all()
        try:
            return self.answer(request)
        finally:
            with self._changed:
                self.open_count -= 1
                self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With Python's default of 5 the kernel drops connections of a burst, and the client waits a second.
    request_queue_size = 128


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = PushRequest(self.path, dict(self.headers), body, self.client_address[1])
            self.send_response(endpoint.respond(request))
            self.send_header("content-length", "0")
            self.end_headers()

        def handle(self) -> None:
            # Nobody is left to read the answer of an abandoned request.
            with contextlib.suppress(ConnectionError):
                super().handle()

        def log_message(self, *args: object) -> None:
            pass

    return Handler
