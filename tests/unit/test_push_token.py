"""Who may come in by a token: F22, as far as it is decided without Django."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import certificate_server
from certificate_server import CertificateServer, key, token
from i3tasks_core.errors import CertificatesUnavailable, TokenForeign, TokenRefused
from i3tasks_core.pubsub.certificates import GOOGLE, Certificates
from i3tasks_core.pubsub.push_token import LONGEST_TOKEN, TokenVerifier


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[CertificateServer]:
    with certificate_server.certificate_server() as running:
        yield running


@pytest.fixture
def verifier(server: CertificateServer, clock: Clock) -> TokenVerifier:
    return TokenVerifier(server.oidc(), Certificates(server.url, clock))


def refused(verifier: TokenVerifier, given: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(given)
    assert type(caught.value) is TokenRefused
    return str(caught.value)


def foreign(verifier: TokenVerifier, given: str) -> str:
    with pytest.raises(TokenForeign) as caught:
        verifier.verify(given)
    return str(caught.value)


class TestAToken:
    @pytest.mark.parametrize("issuer", ["accounts.google.com", "https://accounts.google.com"])
    def test_of_ours_opens(self, verifier, issuer):
        verifier.verify(token(iss=issuer))

    def test_that_is_nearly_an_hour_old_opens(self, verifier):
        verifier.verify(token(iat=int(time.time()) - 3500, exp=int(time.time()) + 100))

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"aud": "https://elsewhere"}, "audience"),
            ({"aud": None}, "audience"),
            ({"aud": [certificate_server.AUDIENCE, "https://elsewhere"]}, "audience"),
            ({"aud": certificate_server.AUDIENCE + "/"}, "audience"),
            ({"email": "somebody@shop.iam.gserviceaccount.com"}, "account"),
            ({"email": None}, "account"),
            ({"email_verified": False}, "not verified"),
            ({"email_verified": None}, "not verified"),
            ({"email_verified": "true"}, "not verified"),
            ({"email_verified": 1}, "not verified"),
        ],
    )
    def test_made_for_somebody_else_is_foreign(self, verifier, changes, text):
        assert text in foreign(verifier, token(**changes))

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "https://evil.example.com"},
            {"iss": None},
            {"iss": "http://accounts.google.com"},
            {"exp": 1, "iat": 0},
            {"exp": None},
            {"iat": None},
            {"exp": "never"},
            {"exp": {}},
            {"iat": 2**40},
            {"iss": ["https://accounts.google.com"]},
            {"iss": {}},
            {"exp": 10**400},
            {"exp": 1e308},
            {"nbf": 2**39},
            {"nbf": "now"},
        ],
    )
    def test_of_another_issuer_or_time_is_refused(self, verifier, changes):
        refused(verifier, token(**changes))

    def test_that_expired_a_minute_ago_is_refused(self, verifier):
        refused(verifier, token(exp=int(time.time()) - 60, iat=int(time.time()) - 3660))

    @pytest.mark.parametrize(
        "given",
        [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "é.é.é",
            "\udcff.a.b",
            "x" * LONGEST_TOKEN,
            "bnVsbA.bnVsbA.",
            "W10.W10.W10",
        ],
    )
    def test_that_is_none_is_refused_without_a_fetch(self, verifier, server, given):
        refused(verifier, given)
        assert server.fetch_count == 0

    def test_without_a_signature_is_refused(self, verifier):
        assert "RS256" in refused(verifier, certificate_server.unsigned_token())

    def test_signed_with_the_public_key_is_refused(self, verifier):
        assert "RS256" in refused(verifier, certificate_server.token_signed_with_the_public_key())

    @pytest.mark.parametrize(
        "header",
        [{"kid": "unknown"}, {"kid": None}, {"kid": ["a"]}, {"kid": {}}, {"alg": "ES256"}, {"alg": None}],
    )
    def test_of_an_unknown_key_or_kind_is_refused(self, verifier, header):
        refused(verifier, token(header=header))

    def test_signed_by_a_stranger_in_our_keys_name_is_refused(self, verifier):
        assert "signature" in refused(verifier, token(key(1), header={"kid": key().key_id}))

    def test_with_any_bit_of_its_signature_flipped_is_refused(self, verifier):
        good = token()
        verifier.verify(good)
        head, _, signature = good.rpartition(".")
        for place in range(0, len(signature) - 2, 23):
            flipped = "A" if signature[place] != "A" else "B"
            refused(verifier, f"{head}.{signature[:place]}{flipped}{signature[place + 1 :]}")

    def test_that_is_very_long_is_refused_before_a_byte_of_it_is_read(self, verifier, server):
        assert "too long" in refused(verifier, token(padding="x" * 65_536))
        assert server.fetch_count == 0

    def test_that_names_addresses_gets_none_of_them_fetched(self, verifier, server):
        with certificate_server.certificate_server(key(1)) as evil:
            header = {"jku": evil.url, "x5u": evil.url, "kid": evil.url, "jwk": {"kty": "RSA"}}
            refused(verifier, token(key(1), header=header, iss=evil.url))
            refused(verifier, token(key(1), header=header | {"kid": key().key_id}))
            assert evil.paths == []
        assert set(server.paths) == {"/certs"}

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_of_any_shape_raises_nothing_else(self, data):
        anything: Any = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=5,
        )
        names = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku"])
        verifier = TokenVerifier(certificate_server.OIDC(audience="a", service_account_email="b"), KNOWN)
        header = {"alg": "RS256", "kid": key().key_id} | data.draw(
            st.dictionaries(names, anything, max_size=2)
        )
        parts = [certificate_server._segment(json.dumps(header).encode())] + [
            data.draw(st.one_of(st.text(max_size=20), anything.map(encoded))) for _ in range(2)
        ]
        refused(verifier, ".".join(parts))


def encoded(value: Any) -> str:
    return certificate_server._segment(json.dumps(value).encode())


class Known(Certificates):
    def find(self, key_id: str) -> str | None:
        return key().certificate if key_id == key().key_id else None


KNOWN = Known("http://127.0.0.1:1/")


def test_without_an_address_of_ones_own_it_is_googles():
    assert GOOGLE == "https://www.googleapis.com/oauth2/v1/certs"
    verifier = TokenVerifier(certificate_server.OIDC(audience="a", service_account_email="b@c"))
    assert verifier._certificates._url == GOOGLE


class TestRemembering:
    def test_a_verified_token_costs_nothing_more(self, server, monkeypatch):
        verifier = TokenVerifier(server.oidc())
        good = token()
        verifier.verify(good)
        monkeypatch.setattr("google.auth.jwt.decode", lambda *_a, **_k: pytest.fail("verified again"))

        verifier.verify(good)

    def test_ends_when_the_token_does(self, server, clock):
        clock.now = time.time()
        verifier = TokenVerifier(server.oidc(), clock=clock)
        good = token(exp=int(clock.now) + 100)
        verifier.verify(good)
        server.keys = [key(1)]
        clock.now += 101

        assert verifier._remembers(b"") is False
        assert list(verifier._remembered.values()) == [pytest.approx(clock.now - 1, abs=2)]
        verifier._certificates = KNOWN_NOTHING
        assert "unknown" in refused(verifier, good)

    def test_is_bounded(self, server, monkeypatch):
        monkeypatch.setattr("i3tasks_core.pubsub.push_token._MOST_REMEMBERED", 3)
        verifier = TokenVerifier(server.oidc())
        for number in range(5):
            verifier.verify(token(sub=str(number)))

        assert len(verifier._remembered) == 3

    def test_a_refused_token_is_not_remembered(self, verifier):
        bad = token(aud="https://elsewhere")
        for _ in range(2):
            foreign(verifier, bad)
        assert len(verifier._remembered) == 0


class KnownNothing(Certificates):
    def find(self, key_id: str) -> str | None:
        return None


KNOWN_NOTHING = KnownNothing("http://127.0.0.1:1/")


class TestCertificates:
    def test_are_fetched_once_and_kept_for_their_max_age(self, server, clock):
        known = Certificates(server.url, clock)
        for _ in range(3):
            assert known.find(key().key_id) == key().certificate
        clock.now += 3599
        known.find(key().key_id)
        assert server.fetch_count == 1

        clock.now += 2
        known.find(key().key_id)
        assert server.fetch_count == 2

    def test_of_a_new_key_are_fetched_when_it_is_first_seen(self, server, clock):
        known = Certificates(server.url, clock)
        known.find(key().key_id)
        server.keys.append(key(1))
        clock.now += 61

        assert known.find(key(1).key_id) == key(1).certificate
        assert server.fetch_count == 2

    def test_of_a_key_that_is_gone_are_forgotten(self, server, clock):
        known = Certificates(server.url, clock)
        known.find(key().key_id)
        server.keys = [key(1)]
        clock.now += 3601

        assert known.find(key().key_id) is None

    def test_are_fetched_at_most_once_a_minute_under_a_flood_of_unknown_keys(self, server, clock):
        known = Certificates(server.url, clock)
        for second in range(180):
            clock.now += 1
            for number in range(5):
                assert known.find(f"unknown-{second}-{number}") is None
        assert server.fetch_count == 3

    def test_are_fetched_once_by_many_who_come_at_once_and_all_of_them_get_in(self, server, clock):
        server.pause = 0.2
        known = Certificates(server.url, clock)
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(known.find, [key().key_id] * 16))

        assert found == [key().certificate] * 16
        assert server.fetch_count == 1

    def test_that_never_came_are_unavailable_and_asked_for_once_a_minute(self, server, clock):
        server.status = 503
        known = Certificates(server.url, clock)
        for _ in range(10):
            with pytest.raises(CertificatesUnavailable):
                known.find(key().key_id)
        assert server.fetch_count == 1

        server.status = 200
        clock.now += 61
        assert known.find(key().key_id) == key().certificate

    def test_that_do_not_come_in_time_are_unavailable(self, server, clock, monkeypatch):
        monkeypatch.setattr("i3tasks_core.pubsub.certificates.PATIENCE_SECONDS", 0.3)
        server.pause = 30.0
        known = Certificates(server.url, clock)
        began = time.monotonic()
        for _ in range(10):
            with pytest.raises(CertificatesUnavailable):
                known.find(key().key_id)
        assert time.monotonic() - began < 2.0
        assert server.fetch_count == 1

    def test_that_nobody_serves_are_unavailable(self, server, clock):
        server.close()
        with pytest.raises(CertificatesUnavailable):
            Certificates(server.url, clock).find(key().key_id)

    @pytest.mark.parametrize(
        "trouble",
        [
            {"status": 500},
            {"status": 404},
            {"body": b"<html>"},
            {"body": b"[]"},
            {"body": b"{}"},
            {"body": b'{"kid": 5}'},
            {"body": b'{"kid": "no certificate"}'},
            {"body": b" " * 65_537},
            {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
        ],
        ids=str,
    )
    def test_are_kept_while_the_server_gives_nothing_better(self, server, clock, trouble):
        known = Certificates(server.url, clock)
        known.find(key().key_id)
        for name, value in trouble.items():
            setattr(server, name, value)
        for _ in range(3):
            clock.now += 7200
            assert known.find(key().key_id) == key().certificate
        assert server.fetch_count == 4

    @pytest.mark.parametrize("trouble", [{"pause": 30.0}, {"is_dripping": True}], ids=str)
    def test_are_waited_for_briefly_and_by_one_alone(self, server, clock, monkeypatch, trouble):
        monkeypatch.setattr("i3tasks_core.pubsub.certificates.PATIENCE_SECONDS", 0.3)
        known = Certificates(server.url, clock)
        known.find(key().key_id)
        for name, value in trouble.items():
            setattr(server, name, value)
        clock.now += 7200

        began = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(known.find, [key().key_id] * 8))
        assert found == [key().certificate] * 8
        assert time.monotonic() - began < 1.0
        assert server.fetch_count == 2

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("max-age=120", 120), ("public, MAX-AGE=120, must-revalidate", 120),
            ("s-maxage=5, max-age=120", 120),
            ("no-store", 60), ("max-age=x", 60), ("max-age=-5", 60), ("max-age=999999999", 86_400),
        ],
    )  # fmt: skip
    def test_are_kept_for_as_long_as_the_header_says(self, server, clock, header, seconds):
        server.headers = {"Cache-Control": header}
        known = Certificates(server.url, clock)
        known.find(key().key_id)
        clock.now += seconds - 1
        known.find(key().key_id)
        assert server.fetch_count == 1
        clock.now += 2
        known.find(key().key_id)
        assert server.fetch_count == 2
