"""The message: whose turn it is, and proof that we wrote it. Never arguments, never a name to import."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from i3tasks_core.errors import EnvelopeError, SignatureError

VERSION = 1
SIGNATURE = "signature"
_SALT = b"i3tasks.envelope"
_IDS_END = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A doorbell for one try."""

    try_id: int
    execution_id: UUID
    queue_name: str


def derive_key(secret: str) -> bytes:
    """The signing key that belongs to a secret; of no use for anything else signed with that secret."""
    return hmac.digest(secret.encode(), _SALT, "sha256")


def encode(envelope: Envelope, key: bytes) -> tuple[bytes, dict[str, str]]:
    """The message's bytes and its attributes."""
    queue, execution = _quoted(envelope.queue_name), envelope.execution_id.hex
    data = f'{{"v":{VERSION},"try":{envelope.try_id},"execution":"{execution}","queue":{queue}}}'.encode()
    return data, {SIGNATURE: _sign(data, key)}


def decode(data: bytes, attributes: Mapping[str, str], keys: Sequence[bytes]) -> Envelope:
    """What a message says. The signature is checked before a byte of it is believed.

    Args:
        data: the message's bytes.
        attributes: its attributes.
        keys: the current signing key first, then those of ``SECRET_KEY_FALLBACKS``.

    Raises:
        SignatureError: no signature, or none of the keys made it.
        EnvelopeError: signed by us, but not of a form this version reads.
    """
    signature = attributes.get(SIGNATURE)
    if not isinstance(signature, str) or not any(_matches(signature, _sign(data, key)) for key in keys):
        raise SignatureError("the message's signature is missing or wrong")
    try:
        return _read(json.loads(data))
    except EnvelopeError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise EnvelopeError(f"a signed message of an unknown form: {type(error).__name__}") from error


def _read(fields: Any) -> Envelope:
    if fields["v"] != VERSION:
        raise EnvelopeError(f"message version {fields['v']!r}: this release reads version {VERSION}")
    try_id = int(fields["try"])
    if not 0 < try_id < _IDS_END:
        raise EnvelopeError("no try has such an id")
    return Envelope(
        try_id=try_id,
        execution_id=UUID(hex=fields["execution"]),
        queue_name=str(fields["queue"]),
    )


@lru_cache
def _quoted(name: str) -> str:
    return json.dumps(name)


def _sign(data: bytes, key: bytes) -> str:
    return hmac.digest(key, data, "sha256").hex()


def _matches(given: str, wanted: str) -> bool:
    # compare_digest refuses text outside ASCII, which a stranger may well send.
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
