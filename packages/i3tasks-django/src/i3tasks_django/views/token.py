"""Who may come in: a shared secret in the header or in the address."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare


def has_token(request: HttpRequest, token: str | None) -> bool:
    """Whether it carries the token, as ``Authorization: Bearer`` or ``?token=``; None lets nobody in."""
    if token is None:
        return False
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else request.GET.get("token", "")
    return constant_time_compare(given, token)


def unauthorized() -> HttpResponse:
    return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
