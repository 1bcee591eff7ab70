"""A small HTTP server beside a service that serves nothing itself: probes, figures and the health page."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from i3tasks_django.metrics import Metrics
from i3tasks_django.service import CannotStart
from i3tasks_django.views.health import Check, database_answers, health, probe
from i3tasks_django.wsgi import Routes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10.0  # a peer that says nothing must not keep a thread

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
