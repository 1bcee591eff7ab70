"""The i3 routes as a WSGI application of their own, beside the project's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest, get_script_name
from django.http import HttpResponse
from django.urls import set_script_prefix
from django.urls.converters import UUIDConverter

from i3tasks_core import events
from i3tasks_core.config import AnyQueue, PushQueue
from i3tasks_django import ringing
from i3tasks_django.publishing import declare_in_background
from i3tasks_django.runtime import runtime
from i3tasks_django.views.away import later
from i3tasks_django.views.beat import beat
from i3tasks_django.views.health import database_answers, health, probe
from i3tasks_django.views.push import push, share
from i3tasks_django.views.status import status

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View = Callable[..., Any]
_UUID = re.compile(UUIDConverter.regex)

_REFUSALS = (BadRequest, SuspiciousOperation)
"""What Django raises where it answers 400."""

_RINGING: tuple[View, ...] = (push, beat)
"""What may leave doorbells to ring, and a server that scales to zero takes the processor away afterwards."""


class Routes:
    """Exact paths to views and nothing else: none of the project's middleware, none of its other routes.

    The project's ROOT_URLCONF stays in force, so a task's ``reverse()`` works as everywhere.

    Args:
        views: by path; one that ends in ``<uuid>/`` takes any, and its view is called with it.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = dict(views)
        self._is_draining = False

    def drain(self) -> None:
        """Begin no more tasks: the process is about to end, and another will get their messages."""
        self._is_draining = True

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._answer(environ)
        response.headers.setdefault("Content-Length", str(len(response.content)))
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        # HEAD tells how long the body would be; sending it would be read as the next answer's beginning.
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.content]

    def _answer(self, environ: WSGIEnvironment) -> HttpResponse:
        try:
            set_script_prefix(get_script_name(environ))
            request = WSGIRequest(environ)
        except (ValueError, LookupError, *_REFUSALS):  # a charset that nobody knows, say
            return HttpResponse(status=400)
        return self._respond(request)

    def _respond(self, request: WSGIRequest) -> HttpResponse:
        view = self._find(request.path_info)
        if view is None:
            return HttpResponse(status=404)
        if view is push and self._is_draining:
            return later()
        try:
            response: HttpResponse = view(request)
        except _REFUSALS:  # a thousand query parameters, say
            return HttpResponse(status=400)
        except Exception as error:  # noqa: BLE001 - the caller gets a status, the log gets the reason
            events.PASS_FAILED(error=repr(error), exc_info=error)
            return HttpResponse(status=500)
        finally:
            if view in _RINGING:
                ringing.flush()
        return response

    def _find(self, path: str) -> View | None:
        if path in self._views:
            return self._views[path]
        folder, _, name = path[:-1].rpartition("/")
        view = self._views.get(f"{folder}/<uuid>/")
        if view is None or not path.endswith("/") or not _UUID.fullmatch(name):
            return None
        return partial(view, execution_id=UUID(name))


def receiver_routes(queues: Iterable[AnyQueue]) -> Routes:
    """What a receiver serves: every push endpoint's path, its siblings, and the probes."""
    views: dict[str, View] = {"/health/live": probe(), "/health/ready": probe(database_answers)}
    for queue in queues:
        if isinstance(queue, PushQueue):
            path = urlsplit(queue.push_endpoint).path
            prefix = path.rstrip("/").rpartition("/")[0]
            views |= {
                f"{prefix}/tasks-beat/": beat,
                f"{prefix}/tasks-health/": health,
                f"{prefix}/tasks-status/<uuid>/": status,
                path: push,
            }
    return Routes(views)


def receiver() -> Routes:
    """The receiver's application; declares topics and subscriptions in the background as it starts."""
    declare_in_background()
    share()
    events.SERVICE_STARTED(service="receiver", detail=f"pid={os.getpid()}")
    return receiver_routes(runtime().config.queues)
