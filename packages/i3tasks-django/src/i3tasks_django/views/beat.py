"""``POST /i3/tasks-beat/``: one maintenance pass, for projects that let Cloud Scheduler ring."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from i3tasks_django.maintenance import maintain
from i3tasks_django.runtime import runtime
from i3tasks_django.views.away import unless_away
from i3tasks_django.views.token import has_token, unauthorized


@csrf_exempt
@require_POST
def beat(request: HttpRequest) -> HttpResponse:
    """Closed unless a token opens it; open on a laptop."""
    token = runtime().config.beat_token
    is_open = token is None and (settings.DEBUG or runtime().pubsub.emulator)
    if not is_open and not has_token(request, token):
        return unauthorized()
    return unless_away(_pass)


def _pass() -> HttpResponse:
    done = maintain()
    return JsonResponse(
        {
            "status": "ok",
            "fired": done.fired_count,
            "published": done.published_count,
            "rescued": done.rescued_count,
        }
    )


beat = transaction.non_atomic_requests(beat)
