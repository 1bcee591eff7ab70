"""gunicorn's process with threads, and what it lacks towards strangers and at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from i3tasks_django.patience import Patience
from i3tasks_django.views.body import MOST_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REQUEST_SECONDS = 10.0
"""Pub/Sub sends its 1 KiB at once. A task's own time does not count."""

# For the peer to read an answer to what it has not finished saying.
_LAST_WORDS_SECONDS = 0.2
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

Application = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn carries no types
    """Serves the routes: whole requests only, and no new tasks after SIGTERM."""

    wsgi: Any

    def init_process(self) -> None:
        self.patience = Patience(REQUEST_SECONDS)
        self.patience.start()
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.routes = self.wsgi
        self.wsgi = whole_requests(self.routes, self.patience)

    def handle(self, conn: Any) -> Any:
        with self.patience.awaiting(conn.sock):
            goes_on = super().handle(conn)
        if not goes_on:
            _part(conn)
        return goes_on

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Requests that wait for a thread, or come on open connections, go elsewhere."""
        if hasattr(self, "routes"):
            self.routes.drain()
        super().handle_exit(sig, frame)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Gunicorn's own answers tell a stranger what was wrong, some of them with a 5xx."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("Invalid request: %s", type(exc).__name__)
        util.write_nonblock(client, _BAD_REQUEST)


def _part(conn: Any) -> None:
    """Close it here: the loop that accepts connections would wait for two seconds for each peer to agree."""
    util.close_graceful(conn.sock, timeout=_LAST_WORDS_SECONDS)
    conn.close = lambda graceful=False: None  # noqa: ARG005 - gunicorn's name


def whole_requests(application: Application, patience: Patience) -> Application:
    """The application, called when the whole request is here; with a little more of one that is too large."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if int(environ.get("CONTENT_LENGTH") or 0) <= MOST_BYTES:
            try:
                body = environ["wsgi.input"].read(MOST_BYTES + 1)
            except (OSError, ParseException):  # it broke off, was hung up on, or its chunks are none
                start_response("400 Bad Request", [("Content-Length", "0")])
                return []
            if len(body) <= MOST_BYTES:
                patience.came(environ["gunicorn.socket"])
            environ |= {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return application(environ, start_response)

    return serve
