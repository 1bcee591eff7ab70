"""Who may ring is checked before anybody rings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core.config import OIDC
from i3tasks_core.oidc_problems import oidc_problems, signer_problems

GOOD = OIDC(
    audience="https://shop.example.com/i3/tasks-push/",
    service_account_email="pusher@shop.iam.gserviceaccount.com",
)


def found(value: Any) -> set[tuple[str, str]]:
    return {(problem.code, problem.field) for problem in oidc_problems(value)}


@pytest.mark.parametrize("value", [None, GOOD])
def test_none_and_a_full_identity_will_do(value):
    assert found(value) == set()


@pytest.mark.parametrize("value", ["", "pusher@shop", True, {}, ("https://a", "b@c"), OIDC])
def test_anything_but_an_oidc_is_named(value):
    assert found(value) == {("E008", "I3TASKS.push_auth")}


@pytest.mark.parametrize("value", [None, "", " ", "a b", 5, b"https://shop", ["https://shop"]])
def test_without_an_audience_any_token_of_googles_would_do(value):
    assert found(replace(GOOD, audience=value)) == {("E008", "I3TASKS.push_auth.audience")}


@pytest.mark.parametrize("value", [None, "", "pusher", "a@b c", 5, ["a@b"]])
def test_a_wrong_address_of_an_account_is_named(value):
    wrong = replace(GOOD, service_account_email=value)
    assert found(wrong) == {("E008", "I3TASKS.push_auth.service_account_email")}


def test_everything_is_told_at_once():
    assert len(oidc_problems(OIDC(audience="", service_account_email="", certs_url=""))) == 3


@pytest.mark.parametrize(
    "url", ["", "certs", "ftp://a/b", "http://", "http://[", "http://a:b/", 5, "file:///x"]
)
def test_an_address_of_certificates_that_is_none_is_named(url):
    assert found(replace(GOOD, certs_url=url)) == {("E008", "I3TASKS.push_auth.certs_url")}


def test_certificates_of_ones_own_are_for_an_emulator_only():
    own = replace(GOOD, certs_url="http://127.0.0.1:41234/oauth2/v1/certs")

    assert found(own) == set()
    assert signer_problems(own, is_emulator=True) == []
    (problem,) = signer_problems(own, is_emulator=False)
    assert (problem.code, problem.field) == ("E008", "I3TASKS.push_auth.certs_url")
    assert signer_problems(GOOD, is_emulator=False) == signer_problems(None, is_emulator=False) == []


@settings(max_examples=50)
@given(st.one_of(st.none(), st.text(), st.integers(), st.binary(), st.lists(st.text())))
def test_no_value_makes_it_raise(value):
    everything = OIDC(audience=value, service_account_email=value, certs_url=value)
    for problem in [*oidc_problems(everything), *oidc_problems(value)]:
        assert problem.hint
