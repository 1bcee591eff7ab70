"""What looks secret by its name is not shown."""

from __future__ import annotations

import pytest

from i3tasks_core.masking import MASK, looks_secret, masked, masked_arguments


@pytest.mark.parametrize(
    "name",
    [
        "password", "PASSWORD", "new_password2", "userPassword", "passwd", "db-pwd", "pass", "passphrase",
        "token", "access_token", "accessToken", "csrfmiddlewaretoken", "id.token",
        "secret", "client_secret", "SECRET_KEY", "Authorization", "proxy-authorization", "auth",
        "api_key", "apiKey", "APIKey", "X-Api-Key", "api key", "private_key", "AWS_ACCESS_KEY_ID",
        "signing_key", "credentials", "Set-Cookie", "sessionid", "signature", "pin", "PIN", "cardPin", "otp",
        "jwt", "cvv", "dsn",
    ],
)  # fmt: skip
def test_a_secret_name_is_known_in_any_spelling(name):
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    ["author", "authority", "key", "primary_key", "keyword", "passenger", "passed", "compass", "pinned",
     "shipping", "spinning", "option", "sessions", "name", "user", "bearers", "", "ключ", "42"],
)  # fmt: skip
def test_an_ordinary_name_is_left_alone(name):
    assert not looks_secret(name)


def test_secrets_are_masked_however_deep_they_lie():
    value = {
        "user": "bob",
        "login": [{"password": "hunter2", "at": 1}],
        "headers": {"Authorization": "Bearer x"},
    }

    assert masked(value) == {
        "user": "bob",
        "login": [{"password": MASK, "at": 1}],
        "headers": {"Authorization": MASK},
    }


def test_everything_under_a_secret_name_is_masked_as_a_whole():
    assert masked({"credentials": {"user": "bob", "key": "k"}, "tokens": ["a", "b"], "pin": 1234}) == {
        "credentials": MASK,
        "tokens": MASK,
        "pin": MASK,
    }


def test_what_says_nothing_stays_readable():
    assert masked({"token": None, "is_secret": True}) == {"token": None, "is_secret": True}


def test_the_value_itself_is_not_changed():
    value = {"nested": {"token": "t"}}

    masked(value)

    assert value == {"nested": {"token": "t"}}


def test_positional_arguments_are_masked_by_their_parameters_names():
    assert masked_arguments(["bob", "hunter2", {"token": "t"}], ["user", "password"]) == [
        "bob",
        MASK,
        {"token": MASK},
    ]


@pytest.mark.parametrize("value", ["text", 1, 1.5, None, True, [], {}])
def test_a_value_without_names_is_given_back(value):
    assert masked(value) == value
