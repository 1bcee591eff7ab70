"""Whether a request's token says that Google made it for us.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from i3tasks_core.config import OIDC
from i3tasks_core.errors import TokenForeign, TokenRefused
from i3tasks_core.pubsub.certificates import GOOGLE, Certificates

LONGEST_TOKEN = 4096
"""Google's own are about 1,000 characters long. Nothing of a longer one is looked at."""

_ISSUERS = frozenset({"accounts.google.com", "https://accounts.google.com"})
_ALGORITHM = "RS256"
_LAST_MOMENT = 1 << 40
_SKEW_SECONDS = 10
_MOST_REMEMBERED = 1000


class TokenVerifier:
    """Verifies the tokens of one identity.

    Args:
        wanted: who may come in.
        certificates: what tokens are verified with; by default those at the identity's address, or Google's.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        wanted: OIDC,
        certificates: Certificates | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._wanted = wanted
        self._certificates = certificates or Certificates(wanted.certs_url or GOOGLE)
        self._clock = clock
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, token: str) -> None:
        """Return if the token is ours. A token that was verified is good until it expires.

        Raises:
            TokenRefused: not a token, expired, or signed by somebody else.
            TokenForeign: a sound token for another audience, or of another account.
            CertificatesUnavailable: nobody can tell now; trying again later makes sense.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused("the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if self._remembers(digest):
            return
        claims = self._verified(token)
        self._admit(claims)
        self._remember(digest, float(claims["exp"]))

    def _verified(self, token: str) -> Mapping[str, Any]:
        certificate = self._certificates.find(_key_id(token))
        if certificate is None:
            raise TokenRefused("the token's key is unknown")
        from google.auth import jwt

        try:
            # The audience is compared in _admit: a mistake there has a status of its own.
            claims: Mapping[str, Any] = jwt.decode(
                token, certs=certificate, audience=None, clock_skew_in_seconds=_SKEW_SECONDS
            )
        except Exception as error:  # a stranger's bytes raise more than the library lists
            raise TokenRefused("the token's signature or time is wrong") from error
        if str(claims.get("iss")) not in _ISSUERS:
            raise TokenRefused("the token's issuer is not Google")
        if not _is_moment(claims["exp"]) or not _is_moment(claims.get("nbf", 0)):
            raise TokenRefused("the token's times cannot be read")
        if claims.get("nbf", 0) > self._clock() + _SKEW_SECONDS:
            raise TokenRefused("the token is not valid yet")
        return claims

    def _admit(self, claims: Mapping[str, Any]) -> None:
        if claims.get("aud") != self._wanted.audience:
            raise TokenForeign("the token's audience is not I3TASKS.push_auth.audience")
        if claims.get("email") != self._wanted.service_account_email:
            raise TokenForeign("the token's account is not I3TASKS.push_auth.service_account_email")
        if claims.get("email_verified") is not True:
            raise TokenForeign("the token's email is not verified")

    def _remembers(self, digest: bytes) -> bool:
        return self._remembered.get(digest, 0.0) > self._clock()

    def _remember(self, digest: bytes, expires_at: float) -> None:
        with self._lock:
            self._remembered[digest] = expires_at
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)


def _is_moment(value: Any) -> bool:
    """Whole seconds since 1970, as Google writes them."""
    return type(value) is int and 0 <= value < _LAST_MOMENT


def _key_id(token: str) -> str:
    """Which key it says that it was signed with. What else its header says, addresses above all, is not read.

    Raises:
        TokenRefused: it says none, or another algorithm than Google's.
    """
    try:
        head, _claims, _signature = token.encode("ascii").split(b".")
        header = json.loads(base64.b64decode(head + b"=" * (-len(head) % 4), altchars=b"-_", validate=True))
        key_id, algorithm = header["kid"], header["alg"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TokenRefused("the token cannot be read") from error
    if algorithm != _ALGORITHM or not isinstance(key_id, str):
        raise TokenRefused(f"the token is not signed with {_ALGORITHM}")
    return key_id
