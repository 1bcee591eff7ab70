"""Push tokens: signed by the embedded Pub/Sub, verified by Google's own library against its certificates."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest
import requests
from emulator_client import PubSub
from emulator_endpoint import Endpoint, PushRequest
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from i3tasks_core.config import OIDC
from i3tasks_core.errors import TokenForeign
from i3tasks_core.pubsub.push_token import TokenVerifier

EMAIL = "pusher@the-project.iam.gserviceaccount.com"


@pytest.fixture
def transport() -> Iterator[Request]:
    with requests.Session() as session:
        yield Request(session=session)


def pushed(embedded: PubSub, endpoint: Endpoint, **identity: str) -> PushRequest:
    """Google's emulator sends no token, so all of this is about the embedded Pub/Sub alone."""
    embedded.topic()
    config = {"push_endpoint": endpoint.url, "oidc_token": {"service_account_email": EMAIL, **identity}}
    embedded.subscription(push_config=config)
    embedded.publish(b"one")
    assert endpoint.wait_for(1)
    return endpoint.requests[0]


def token_of(request: PushRequest) -> str:
    scheme, _, token = request.headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return token


def test_a_push_token_is_good(embedded: PubSub, endpoint: Endpoint, transport: Request) -> None:
    token = token_of(pushed(embedded, endpoint, audience="https://the-app/push"))

    claims = id_token.verify_token(
        token, transport, audience="https://the-app/push", certs_url=embedded.target.certs_url
    )

    assert claims["iss"] == "https://accounts.google.com"
    assert claims["email"] == EMAIL
    assert claims["email_verified"] is True
    assert claims["exp"] - claims["iat"] == 3600


def test_a_push_token_is_for_its_audience_only(
    embedded: PubSub, endpoint: Endpoint, transport: Request
) -> None:
    token = token_of(pushed(embedded, endpoint, audience="https://another-app/push"))

    with pytest.raises(ValueError, match="audience"):
        id_token.verify_token(
            token, transport, audience="https://the-app/push", certs_url=embedded.target.certs_url
        )


def test_a_push_token_is_for_the_endpoint_by_default(
    embedded: PubSub, endpoint: Endpoint, transport: Request
) -> None:
    token = token_of(pushed(embedded, endpoint))

    claims = id_token.verify_token(
        token, transport, audience=endpoint.url, certs_url=embedded.target.certs_url
    )

    assert claims["aud"] == endpoint.url


def test_the_same_token_is_sent_again(embedded: PubSub, endpoint: Endpoint) -> None:
    first = token_of(pushed(embedded, endpoint))
    embedded.publish(b"two")
    assert endpoint.wait_for(2)

    assert token_of(endpoint.requests[1]) == first


def test_a_tampered_token_is_bad(embedded: PubSub, endpoint: Endpoint, transport: Request) -> None:
    header, _, signature = token_of(pushed(embedded, endpoint)).split(".")
    forged = f"{header}.eyJlbWFpbCI6ImV2aWxAZXZpbCJ9.{signature}"

    with pytest.raises(ValueError, match="signature"):
        id_token.verify_token(forged, transport, audience=endpoint.url, certs_url=embedded.target.certs_url)


def test_the_certificates_may_be_cached(embedded: PubSub) -> None:
    with urllib.request.urlopen(str(embedded.target.certs_url), timeout=10) as answer:
        headers = answer.headers

    assert headers["Cache-Control"] == "public, max-age=3600"
    assert parsedate_to_datetime(headers["Date"]).tzinfo is not None
    assert headers["Content-Type"] == "application/json"


def test_there_is_nothing_else_on_the_port_of_the_certificates(embedded: PubSub) -> None:
    url = str(embedded.target.certs_url).replace("/certs", "/other")

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    refused.value.close()

    assert refused.value.code == 404


def test_a_push_token_opens_our_own_door_and_no_other(embedded: PubSub, endpoint: Endpoint) -> None:
    token = token_of(pushed(embedded, endpoint, audience="https://the-app/push"))
    wanted = OIDC(
        audience="https://the-app/push",
        service_account_email=EMAIL,
        certs_url=embedded.target.certs_url,
    )

    TokenVerifier(wanted).verify(token)

    with pytest.raises(TokenForeign):
        TokenVerifier(replace(wanted, audience="https://another-app/push")).verify(token)
