"""What a view answers while something it needs is away: ask again later."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse

from i3tasks_django.store.database import TRANSIENT, connection, discard_broken, drop_dead_connections

RETRY_AFTER = "10"


def later(status: int = 503) -> HttpResponse:
    return HttpResponse(status=status, headers={"Retry-After": RETRY_AFTER})


def unless_away(answer: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer, or 503. A connection that died is dropped: the thread's next request gets another."""
    try:
        drop_dead_connections()
        return answer()
    except TRANSIENT:
        discard_broken(connection())
        return later()
