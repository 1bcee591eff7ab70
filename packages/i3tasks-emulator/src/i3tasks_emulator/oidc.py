"""Push tokens: a local stand-in for Google's token issuer."""

import base64
import functools
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://accounts.google.com"
LIFETIME_SECONDS = 3_600
# The service sends the same token for most of an hour; whoever verifies must live with old ones.
_RENEW_BEFORE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key, its id, and the certificate a verifier needs, in PEM."""

    key: rsa.RSAPrivateKey
    key_id: str
    certificate: str

    @classmethod
    def generate(cls) -> "SigningKey":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _self_signed(key)
        return cls(
            key=key,
            key_id=certificate.fingerprint(hashes.SHA256()).hex()[:40],
            certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        )

    def sign(self, claims: dict[str, Any]) -> str:
        """The claims as a JSON Web Token, RS256."""
        header = {"alg": "RS256", "kid": self.key_id, "typ": "JWT"}
        payload = f"{_segment(json.dumps(header).encode())}.{_segment(json.dumps(claims).encode())}"
        signature = self.key.sign(payload.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{payload}.{_segment(signature)}"


class TokenIssuer:
    """Tokens for push endpoints. The key lives as long as the server and is made when first needed."""

    def __init__(self) -> None:
        self._issued: dict[tuple[str, str], tuple[float, str]] = {}

    @functools.cached_property
    def _key(self) -> SigningKey:
        return SigningKey.generate()

    def certificates(self) -> dict[str, str]:
        """Key id to certificate in PEM: the shape of https://www.googleapis.com/oauth2/v1/certs."""
        return {self._key.key_id: self._key.certificate}

    def token(self, email: str, audience: str) -> str:
        """A token of this service account for this audience, the same one until it is nearly too old."""
        now = time.time()
        good_until, token = self._issued.get((email, audience), (0.0, ""))
        if good_until <= now:
            token = self._key.sign(_claims(email, audience, int(now)))
            self._issued[email, audience] = (now + LIFETIME_SECONDS - _RENEW_BEFORE_SECONDS, token)
        return token


def _claims(email: str, audience: str, issued_at: int) -> dict[str, Any]:
    subject = str(int.from_bytes(email.encode()[:8], "big"))
    return {
        "aud": audience,
        "azp": subject,
        "email": email,
        "email_verified": True,
        "exp": issued_at + LIFETIME_SECONDS,
        "iat": issued_at,
        "iss": ISSUER,
        "sub": subject,
    }


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "i3tasks-emulator")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
