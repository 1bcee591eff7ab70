"""Addresses that show one call to whoever holds them, for a day."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.core.signing import BadSignature, TimestampSigner
from django.urls import reverse
from django.utils.http import urlencode

_LIFETIME = timedelta(days=1)
_SALT = "i3tasks.status"


def status_url(execution_id: UUID) -> str:
    """The path and query of the call's status page.

    Raises:
        NoReverseMatch: the project's URLs do not include ``i3tasks_django.urls``.
    """
    signature = _signer().sign(execution_id.hex).partition(":")[2]
    path = reverse("i3tasks-status", kwargs={"execution_id": execution_id})
    return f"{path}?{urlencode({'signature': signature})}"


def is_signed(execution_id: UUID, signature: str) -> bool:
    """Whether the signature is ours, of this call, and of the last day."""
    try:
        return _signer().unsign(f"{execution_id.hex}:{signature}", max_age=_LIFETIME) == execution_id.hex
    except (BadSignature, ValueError):
        return False


def _signer() -> TimestampSigner:
    return TimestampSigner(salt=_SALT)
