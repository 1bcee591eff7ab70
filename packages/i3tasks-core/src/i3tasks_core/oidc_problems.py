"""Everything that is wrong with an ``OIDC``, each with what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from i3tasks_core.config import OIDC
from i3tasks_core.problem import Problem

_FIELD = "I3TASKS.push_auth"


def oidc_problems(given: Any) -> list[Problem]:
    """Everything wrong with the ``push_auth`` of an ``I3TasksSettings``.

    Args:
        given: the value, which may be anything; None asks for no token and is no problem.
    """
    if given is None:
        return []
    if not isinstance(given, OIDC):
        hint = "write OIDC(audience=…, service_account_email=…), imported from i3tasks_django.types, or None"
        return [Problem(code="E008", field=_FIELD, message=f"is {given!r}", hint=hint)]
    return [*_identity_problems(given), *_address_problems(given.certs_url)]


def signer_problems(given: OIDC | None, *, is_emulator: bool) -> list[Problem]:
    """What is wrong with whose signatures are believed: anybody's but Google's only beside an emulator."""
    if given is None or given.certs_url is None or is_emulator:
        return []
    hint = "leave it out: without PUBSUB_CONFIG['EMULATOR'] it is Google who signs the tokens"
    return [_problem("certs_url", given.certs_url, hint)]


def _identity_problems(given: Any) -> Iterator[Problem]:
    # An empty audience would be asked of nobody: any token of Google's, for whatever it was made, would do.
    if not _is_word(given.audience):
        yield _problem(
            "audience",
            given.audience,
            "write the audience of the subscription's tokens, e.g. the address of the push endpoint",
        )
    if not _is_word(given.service_account_email) or "@" not in given.service_account_email:
        yield _problem(
            "service_account_email",
            given.service_account_email,
            'write the address of the service account that pushes, e.g. "push@shop.iam.gserviceaccount.com"',
        )


def _address_problems(url: Any) -> Iterator[Problem]:
    if url is not None and not _is_address(url):
        hint = "write the address that i3tasks-emulator prints as PUBSUB_CERTS_URL, or None for Google's"
        yield _problem("certs_url", url, hint)


def _problem(name: str, value: Any, hint: str) -> Problem:
    return Problem(code="E008", field=f"{_FIELD}.{name}", message=f"is {value!r}", hint=hint)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not any(map(str.isspace, value))


def _is_address(value: Any) -> bool:
    try:
        url = urlsplit(value) if isinstance(value, str) else None
        return url is not None and url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # "http://[", or a port that is no number
        return False
