"""``GET /i3/tasks-health/`` for monitors, and the probes of a service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_safe

from i3tasks_django.health import report
from i3tasks_django.runtime import Runtime, runtime
from i3tasks_django.store.database import TRANSIENT, connection
from i3tasks_django.views.away import unless_away
from i3tasks_django.views.token import has_token, unauthorized

KEPT_SECONDS = 2.0

Check = Callable[[], str | None]
"""Says what is wrong, or None."""


@cache_control(no_store=True)
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200: ok or warning. 401: a token is set and was not given. 503: critical, or no database."""
    token = runtime().config.health_token
    if token is not None and not has_token(request, token):
        return unauthorized()
    return unless_away(_report)


def _report() -> HttpResponse:
    found = _kept.report(runtime())
    return JsonResponse(found, status=503 if found["status"] == "critical" else 200)


class _Kept:
    """The last report, good for a moment: monitors and strangers may ask as often as they like."""

    def __init__(self) -> None:
        self._last: tuple[Runtime, float, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def report(self, current: Runtime) -> dict[str, Any]:
        with self._lock:  # who asks while one is made gets that one, however long it takes
            last = self._last
            if last is None or last[0] is not current or time.monotonic() - last[1] > KEPT_SECONDS:
                found = report(current.config)
                self._last = last = (current, time.monotonic(), found)
        return last[2]

    def forget(self) -> None:
        """For tests that look again at once."""
        self._last = None


_kept = _Kept()


def probe(*checks: Check) -> Callable[[HttpRequest], HttpResponse]:
    """A view that answers 200, or 503 with what is wrong."""

    @never_cache
    @require_safe
    def view(_request: HttpRequest) -> HttpResponse:
        wrong = [problem for check in checks if (problem := check())]
        return JsonResponse(
            {"status": "unavailable" if wrong else "ok", "problems": wrong}, status=503 if wrong else 200
        )

    return view


def database_answers() -> str | None:
    """A check: one round trip to the database."""
    try:
        with connection().cursor() as cursor:
            cursor.execute("SELECT 1")
    except TRANSIENT:
        connection().close()
        return "the database does not answer"
    return None
