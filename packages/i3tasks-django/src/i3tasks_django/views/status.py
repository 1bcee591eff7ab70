"""``GET /i3/tasks-status/<uuid>/``: how one call is, for who has the token or a signed address."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from i3tasks_django.runtime import runtime
from i3tasks_django.status import status_of
from i3tasks_django.status_link import is_signed
from i3tasks_django.views.away import unless_away
from i3tasks_django.views.token import has_token, unauthorized


@cache_control(no_store=True)
@require_safe
def status(request: HttpRequest, execution_id: UUID) -> HttpResponse:
    """200: as it is now. 401: a token is set and was not given. 404: no such call, link or page."""
    return _refusal(request, execution_id) or unless_away(lambda: _answer(execution_id))


def _refusal(request: HttpRequest, execution_id: UUID) -> HttpResponse | None:
    signature = request.GET.get("signature")
    if signature is not None:
        return None if is_signed(execution_id, signature) else HttpResponse(status=404)
    config = runtime().config
    token = config.status_token or config.health_token
    if token is None:
        return HttpResponse(status=404)
    return None if has_token(request, token) else unauthorized()


def _answer(execution_id: UUID) -> HttpResponse:
    found = status_of(execution_id)
    return HttpResponse(status=404) if found is None else JsonResponse(found)
