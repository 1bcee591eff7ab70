"""A request's body, and no more of it than we ever want."""

from __future__ import annotations

from django.http import HttpRequest

MOST_BYTES = 256 * 1024
"""Our messages are ids: a push of one is below 1 KiB."""


class BodyTooLarge(Exception):
    """More than anything of ours; what comes after the limit is not read."""


class BodyUnreadable(Exception):
    """Its length is none, or it did not come as announced."""


def check_length(request: HttpRequest) -> None:
    """What the header alone says, before a byte is read.

    Raises:
        BodyTooLarge: it announces more than ``MOST_BYTES``.
        BodyUnreadable: it announces what is no length.
    """
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if not (announced.isascii() and announced.isdigit()):
        raise BodyUnreadable
    if len(announced) > 12 or int(announced) > MOST_BYTES:
        raise BodyTooLarge


def read_body(request: HttpRequest) -> bytes:
    """All of it.

    Raises:
        BodyTooLarge: there is more than ``MOST_BYTES``, whatever was announced.
        BodyUnreadable: the connection broke off, or its chunks are none.
    """
    try:
        # One byte more than wanted tells whether there is more.
        body = _read(request, MOST_BYTES + 1)
    except Exception as error:  # every server has errors of its own for this
        raise BodyUnreadable from error
    if len(body) > MOST_BYTES:
        raise BodyTooLarge
    return body


def _read(request: HttpRequest, most: int) -> bytes:
    if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
        # A chunked body. Django reads none of it, but the server says that it ends where the body does.
        body: bytes = request.META["wsgi.input"].read(most)
        return body
    return request.read(most)
