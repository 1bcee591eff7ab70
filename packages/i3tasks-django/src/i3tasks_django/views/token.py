"""Who may come in: a shared secret in the header or in the address, or a token that Google signed."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare

from i3tasks_core import events
from i3tasks_core.errors import CertificatesUnavailable, TokenForeign, TokenRefused
from i3tasks_core.pubsub.push_token import TokenVerifier
from i3tasks_django.views.away import later

_TELL_AGAIN_SECONDS = 60.0
_told: dict[tuple[str, str], float] = {}


def has_token(request: HttpRequest, token: str | None) -> bool:
    """Whether it carries the token, as ``Authorization: Bearer`` or ``?token=``; None lets nobody in."""
    if token is None:
        return False
    given = _bearer(request)
    return constant_time_compare(request.GET.get("token", "") if given is None else given, token)


def unauthorized() -> HttpResponse:
    return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})


def refusal(request: HttpRequest, verifier: TokenVerifier, door: str) -> HttpResponse | None:
    """None for who comes with a token of ours; 401, 403, or 503 while nobody can tell. Costs no query."""
    try:
        verifier.verify(_bearer(request) or "")
    except CertificatesUnavailable as error:
        _tell(door, str(error))
        return later()
    except TokenRefused as error:
        _tell(door, str(error))
        return HttpResponse(status=403) if isinstance(error, TokenForeign) else unauthorized()
    return None


def _bearer(request: HttpRequest) -> str | None:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else None


def _tell(door: str, reason: str) -> None:
    """Log it, each reason once a minute: strangers must not write our log."""
    now = time.monotonic()
    if now >= _told.get((door, reason), now):
        _told[door, reason] = now + _TELL_AGAIN_SECONDS
        events.TOKEN_REFUSED(door=door, reason=reason)
