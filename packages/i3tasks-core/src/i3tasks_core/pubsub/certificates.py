"""The certificates that push tokens are verified with: fetched seldom, kept while nothing newer comes."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from urllib.error import HTTPError

from i3tasks_core import events
from i3tasks_core.errors import CertificatesUnavailable

GOOGLE = "https://www.googleapis.com/oauth2/v1/certs"
"""Key id to x509 certificate: https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions"""

PATIENCE_SECONDS = 3.0
LEAST_PAUSE_SECONDS = 60.0
_LONGEST_AGE_SECONDS = 86_400.0
_MOST_BYTES = 64 * 1024
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.IGNORECASE)


class Certificates:
    """Key id to certificate in PEM, as one address tells it.

    Args:
        url: the only address that is ever asked.
        clock: measures seconds.
    """

    def __init__(self, url: str = GOOGLE, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._known: dict[str, str] = {}
        self._fresh_until = self._ask_again_at = clock()
        self._lock = threading.Lock()

    def find(self, key_id: str) -> str | None:
        """The certificate of that key; None when there is none.

        The address is asked at most once a minute, whatever key ids strangers think of. While it does not
        answer, the certificates it gave last are good.

        Raises:
            CertificatesUnavailable: it has not given any yet, and does not now.
        """
        if self._should_ask(key_id):
            self._ask(key_id)
        if not self._known:
            raise CertificatesUnavailable
        return self._known.get(key_id)

    def _should_ask(self, key_id: str) -> bool:
        now = self._clock()
        return now >= self._ask_again_at and (now >= self._fresh_until or key_id not in self._known)

    def _ask(self, key_id: str) -> None:
        # One asks. Whoever has a certificate at hand does not wait for that one, who may wait in vain.
        if not self._lock.acquire(timeout=0 if key_id in self._known else PATIENCE_SECONDS):
            return
        try:
            if self._should_ask(key_id):
                self._fetch()
        finally:
            self._lock.release()

    def _fetch(self) -> None:
        try:
            self._known, max_age = _within(PATIENCE_SECONDS, lambda: _fetch(self._url))
            self._fresh_until = self._clock() + max_age
        except Exception as error:  # noqa: BLE001 - of whatever kind: there is no news
            events.CERTIFICATES_AWAY(url=self._url, error=repr(error))
        finally:
            # Now and not before the fetch: those who wait for the lock must still want what it brings.
            self._ask_again_at = self._clock() + LEAST_PAUSE_SECONDS


def _fetch(url: str) -> tuple[dict[str, str], float]:
    """The certificates and the seconds they are fresh for; any exception when that is not what comes."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - a checked setting
            body = answer.read(_MOST_BYTES + 1)
            max_age = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
    except HTTPError as error:
        error.close()  # it is the answer as well, and holds its connection
        raise
    if len(body) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return _certificates(body), min(float(max_age[1]) if max_age else 0.0, _LONGEST_AGE_SECONDS)


def _certificates(body: bytes) -> dict[str, str]:
    """What cannot be used is refused here: it must not take the place of what can."""
    from google.auth.crypt import RSAVerifier

    found = json.loads(body)
    if not isinstance(found, dict) or not found:
        raise ValueError("not a map of key ids to certificates")
    for certificate in found.values():
        RSAVerifier.from_string(certificate)
    return found


def _within(
    seconds: float, fetch: Callable[[], tuple[dict[str, str], float]]
) -> tuple[dict[str, str], float]:
    """What it returns. A socket's timeout bounds neither name resolution nor an answer that comes in drips.

    Raises:
        TimeoutError: not in time; nobody waits for it any more.
    """
    answer: Future[tuple[dict[str, str], float]] = Future()

    def settle() -> None:
        try:
            answer.set_result(fetch())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            answer.set_exception(error)

    threading.Thread(target=settle, name="i3tasks-certificates", daemon=True).start()
    return answer.result(seconds)
