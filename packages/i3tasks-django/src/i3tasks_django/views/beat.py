"""``POST /i3/tasks-beat/``: one maintenance pass, for projects that let Cloud Scheduler ring.

What is due, and when, is the database's to say: nothing of the request is read but its token.
"""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from i3tasks_django.maintenance import maintain
from i3tasks_django.runtime import runtime
from i3tasks_django.views.away import unless_away
from i3tasks_django.views.token import has_token, refusal, unauthorized


@csrf_exempt
@require_POST
def beat(request: HttpRequest) -> HttpResponse:
    """Closed unless ``beat_token`` or a token as on a push opens it; without either open on a laptop."""
    return _refusal(request) or unless_away(_pass)


def is_beat_open() -> bool:
    """Whether anybody may ring."""
    config = runtime().config
    is_guarded = config.beat_token is not None or config.push_auth is not None
    return not is_guarded and bool(settings.DEBUG or runtime().pubsub.emulator)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    if is_beat_open() or has_token(request, runtime().config.beat_token):
        return None
    if verifier := runtime().tokens:
        return refusal(request, verifier, "beat")
    return unauthorized()


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
