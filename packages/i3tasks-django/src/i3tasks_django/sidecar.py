"""A small HTTP server beside a service that serves nothing itself: probes, figures and the health page."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from i3tasks_core import events
from i3tasks_django.metrics import Metrics
from i3tasks_django.patience import Patience
from i3tasks_django.service import CannotStart
from i3tasks_django.views.health import Check, database_answers, health, probe
from i3tasks_django.wsgi import Routes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


MOST_AT_ONCE = 16
REQUEST_SECONDS = 10.0
"""Seconds within which a request must be here: whoever drips is hung up on."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request, and not ever more of them: the service beside it needs its descriptors."""

    daemon_threads = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._patience = Patience(REQUEST_SECONDS)
        self._patience.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            with self._patience.awaiting(request):
                super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's names
        """A peer that has gone is no event."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            events.PASS_FAILED(error=repr(error), exc_info=error)


class _Handler(WSGIRequestHandler):
    timeout = 10.0  # a peer that says nothing must not keep a thread

    def send_error(self, code: int, *_said: Any, **_options: Any) -> None:
        """A bare status: the library's own page repeats what the stranger said."""
        self.wfile.write(f"HTTP/1.0 {int(code)} \r\nContent-Length: 0\r\n\r\n".encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds: not a line for each."""


def serve_health(
    port: int, variable: str, *, is_live: Check, metrics: Metrics, ready: Iterable[Check] = ()
) -> int:
    """Serve ``/health/live``, ``/health/ready``, ``/metrics`` and ``/i3/tasks-health/`` from its own thread.

    Args:
        port: where to listen; 0 picks a free one.
        variable: what sets the port, for the error.
        is_live: whether the service's own loop still turns.
        metrics: what the service tells Prometheus.
        ready: what else must work besides the database.

    Returns:
        The port it listens on.

    Raises:
        CannotStart: the port is taken.
    """
    routes = Routes(
        {
            "/health/live": probe(is_live),
            "/health/ready": probe(database_answers, *ready),
            "/metrics": _figures(metrics),
            "/i3/tasks-health/": health,
        }
    )

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return routes(environ, start_response)
        finally:
            connections.close_all()  # every request has a thread of its own

    try:
        server = make_server("", port, application, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise CannotStart(
            f"the health sidecar cannot listen on port {port}: {error}; set {variable} to a free one"
        ) from error
    threading.Thread(target=server.serve_forever, name="i3tasks-sidecar", daemon=True).start()
    return server.server_port


def _figures(metrics: Metrics) -> Callable[[HttpRequest], HttpResponse]:
    @never_cache
    @require_safe
    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return view
