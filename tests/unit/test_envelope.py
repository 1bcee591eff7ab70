"""The message: what was signed comes back unchanged, and nothing else is believed."""

from __future__ import annotations

import json
from contextlib import suppress
from uuid import UUID

import pytest
from core_values import EXECUTION_ID
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core import envelope as module
from i3tasks_core.envelope import SIGNATURE, Envelope, decode, derive_key, encode
from i3tasks_core.errors import EnvelopeError, I3TasksError, SignatureError

KEY = derive_key("a secret")
OLD_KEY = derive_key("an older secret")
DOORBELL = Envelope(try_id=7, execution_id=EXECUTION_ID, queue_name="heavy")

envelopes = st.builds(
    Envelope,
    try_id=st.integers(min_value=1, max_value=2**63 - 1),
    execution_id=st.uuids(),
    queue_name=st.text(min_size=1, max_size=40),
)


def signed(data):
    return data, {SIGNATURE: module._sign(data, KEY)}


def signed_json(**changes):
    fields = {"v": 1, "try": 7, "execution": EXECUTION_ID.hex, "queue": "heavy", **changes}
    return signed(json.dumps({key: value for key, value in fields.items() if value is not ...}).encode())


@settings(max_examples=100)
@given(envelopes)
def test_whatever_is_encoded_is_decoded_unchanged(envelope):
    assert decode(*encode(envelope, KEY), [KEY]) == envelope


def test_a_message_carries_ids_queue_and_version_and_nothing_else():
    data, attributes = encode(DOORBELL, KEY)

    assert json.loads(data) == {"v": 1, "try": 7, "execution": EXECUTION_ID.hex, "queue": "heavy"}
    assert list(attributes) == [SIGNATURE]


def test_a_message_keeps_within_the_limits_of_attributes():
    _, attributes = encode(DOORBELL, KEY)

    assert all(len(name) <= 256 and len(value) <= 1024 for name, value in attributes.items())


def test_every_flipped_bit_of_the_body_is_refused():
    data, attributes = encode(DOORBELL, KEY)
    for position in range(len(data) * 8):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(SignatureError):
            decode(bytes(changed), attributes, [KEY])


def test_every_flipped_bit_of_the_signature_is_refused():
    data, attributes = encode(DOORBELL, KEY)
    for position in range(len(attributes[SIGNATURE]) * 7):
        changed = bytearray(attributes[SIGNATURE].encode())
        changed[position // 7] ^= 1 << position % 7
        with pytest.raises(SignatureError):
            decode(data, {SIGNATURE: changed.decode()}, [KEY])


def test_a_signature_of_another_key_is_refused():
    with pytest.raises(SignatureError):
        decode(*encode(DOORBELL, OLD_KEY), [KEY])


def test_a_signature_of_a_fallback_key_is_accepted():
    assert decode(*encode(DOORBELL, OLD_KEY), [KEY, OLD_KEY]) == DOORBELL


def test_without_any_key_nothing_is_believed():
    with pytest.raises(SignatureError):
        decode(*encode(DOORBELL, KEY), [])


def test_the_key_is_not_the_secret_and_another_secret_gives_another_key():
    assert b"a secret" not in KEY
    assert KEY != OLD_KEY
    assert derive_key("a secret") == KEY


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "0" * 64,
        "é" * 64,
        "\ud800",
        "\x00",
        "🔑",
        "0" * 100_000,
        None,
        5,
        b"0" * 64,
        [["nested"]],
        {},
    ],
)
def test_a_signature_that_cannot_be_one_is_refused(signature):
    data, _ = encode(DOORBELL, KEY)

    with pytest.raises(SignatureError):
        decode(data, {SIGNATURE: signature}, [KEY])


def test_a_message_without_signature_is_refused():
    with pytest.raises(SignatureError):
        decode(encode(DOORBELL, KEY)[0], {}, [KEY])


def test_a_longer_or_shorter_signature_is_refused():
    data, attributes = encode(DOORBELL, KEY)
    for changed in (
        attributes[SIGNATURE] + "0",
        attributes[SIGNATURE][:-1],
        attributes[SIGNATURE].upper() + " ",
    ):
        with pytest.raises(SignatureError):
            decode(data, {SIGNATURE: changed}, [KEY])


def test_further_attributes_do_no_harm():
    data, attributes = encode(DOORBELL, KEY)

    assert decode(data, {**attributes, "traceparent": "00-…"}, [KEY]) == DOORBELL


@pytest.mark.parametrize("version", [0, 2, "1", None, "v2", [1]])
def test_another_version_is_refused_and_named(version):
    with pytest.raises(EnvelopeError, match="version") as caught:
        decode(*signed_json(v=version), [KEY])
    assert repr(version) in str(caught.value)
    assert not isinstance(caught.value, SignatureError)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": ...},
        {"try": ...},
        {"execution": ...},
        {"queue": ...},
        {"try": None},
        {"try": "seven"},
        {"try": []},
        {"try": float("inf")},
        {"try": float("nan")},
        {"execution": None},
        {"execution": 5},
        {"execution": "not a uuid"},
        {"execution": ["0" * 32]},
    ],
    ids=str,
)
def test_a_signed_message_with_a_missing_or_wrong_field_is_an_envelope_error(changes):
    with pytest.raises(EnvelopeError, match="unknown form"):
        decode(*signed_json(**changes), [KEY])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b"\x00",
        b"[" * 100_000,
        b'{"v":1,"v":2}',
    ],
)
def test_signed_garbage_is_an_envelope_error(data):
    with pytest.raises(EnvelopeError):
        decode(*signed(data), [KEY])


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_whatever_bytes_are_signed_the_only_error_is_ours(data):
    with suppress(I3TasksError):
        decode(*signed(data), [KEY])


def test_an_unknown_field_of_the_same_version_is_ignored():
    assert decode(*signed_json(later="more"), [KEY]).try_id == 7


def test_the_execution_id_is_a_uuid_again():
    assert isinstance(decode(*encode(DOORBELL, KEY), [KEY]).execution_id, UUID)
