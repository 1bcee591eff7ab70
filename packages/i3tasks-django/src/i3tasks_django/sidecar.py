"""A small HTTP server beside a service that serves nothing itself: its probes and the health page."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.db import connections

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


def serve_health(port: int, *, is_live: Check, ready: Iterable[Check] = ()) -> int:
    """Serve ``/health/live``, ``/health/ready`` and ``/i3/tasks-health/`` from a thread of its own.

    Args:
        port: where to listen; 0 picks a free one.
        is_live: whether the service's own loop still turns.
        ready: what else must work besides the database.

    Returns:
        The port it listens on.

    Raises:
        OSError: the port is taken.
    """
    routes = Routes(
        {
            "/health/live": probe(is_live),
            "/health/ready": probe(database_answers, *ready),
            "/i3/tasks-health/": health,
        }
    )

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return routes(environ, start_response)
        finally:
            connections.close_all()  # every request has a thread of its own

    server = make_server("", port, application, server_class=_Server, handler_class=_Handler)
    threading.Thread(target=server.serve_forever, name="i3tasks-sidecar", daemon=True).start()
    return server.server_port
