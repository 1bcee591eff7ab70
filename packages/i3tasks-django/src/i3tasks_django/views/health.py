"""``GET /i3/tasks-health/`` for monitors, and the probes of a service."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from i3tasks_django.health import report
from i3tasks_django.runtime import runtime
from i3tasks_django.store.database import TRANSIENT, connection
from i3tasks_django.views.away import unless_away
from i3tasks_django.views.token import has_token, unauthorized

Check = Callable[[], str | None]
"""Says what is wrong, or None."""


@never_cache
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200: ok or warning. 401: a token is set and was not given. 503: critical, or no database."""
    token = runtime().config.health_token
    if token is not None and not has_token(request, token):
        return unauthorized()
    return unless_away(_report)


def _report() -> HttpResponse:
    found = report(runtime().config)
    return JsonResponse(found, status=503 if found["status"] == "critical" else 200)


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
