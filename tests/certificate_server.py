"""An issuer of push tokens of the tests' own: keys, tokens good and bad, a server of the certificates."""

from __future__ import annotations

import base64
import functools
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from i3tasks_core.config import OIDC
from i3tasks_emulator.oidc import SigningKey

AUDIENCE = "https://shop.example.com/i3/tasks-push/"
EMAIL = "pusher@shop.iam.gserviceaccount.com"


@functools.cache
def key(number: int = 0) -> SigningKey:
    """Keys cost a tenth of a second each: made once for all tests."""
    return SigningKey.generate()


class CertificateServer:
    """Serves the certificates of ``keys``, and misbehaves on request.

    Attributes:
        fetch_count: how often it was asked.
        headers: of its answer.
    """

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.status = 200
        self.body: bytes | None = None
        self.headers = {"Cache-Control": "public, max-age=3600"}
        self.pause = 0.0
        self.is_dripping = False
        self.paths: list[str] = []
        self.gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def fetch_count(self) -> int:
        return len(self.paths)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/certs"

    def oidc(self, **fields: Any) -> OIDC:
        return OIDC(**{"audience": AUDIENCE, "service_account_email": EMAIL, "certs_url": self.url, **fields})

    def close(self) -> None:
        self.gone.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self) -> bytes:
        return json.dumps({one.key_id: one.certificate for one in self.keys}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                server.gone.wait(server.pause)
                body = server.answer() if server.body is None else server.body
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                while server.is_dripping and not server.gone.wait(0.1):
                    self.wfile.write(b" ")
                self.wfile.write(body)

            def handle(self) -> None:
                with suppress(OSError):  # whoever asked has gone
                    super().handle()

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler


@contextmanager
def certificate_server(*keys: SigningKey) -> Iterator[CertificateServer]:
    server = CertificateServer(*(keys or (key(),)))
    try:
        yield server
    finally:
        server.close()


def claims(**changes: Any) -> dict[str, Any]:
    """A good token's; a change to None leaves the claim out."""
    now = int(time.time())
    usual: dict[str, Any] = {
        "aud": AUDIENCE,
        "azp": "1",
        "email": EMAIL,
        "email_verified": True,
        "exp": now + 3600,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": "1",
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def token(signer: SigningKey | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token; without changes a good one."""
    signer = signer or key()
    signed = _signed_part({"alg": "RS256", "kid": signer.key_id, "typ": "JWT"} | (header or {}), changes)
    signature = signer.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_segment(signature)}"


def unsigned_token(**changes: Any) -> str:
    return _signed_part({"alg": "none", "kid": key().key_id, "typ": "JWT"}, changes) + "."


def token_signed_with_the_public_key() -> str:
    """The classic: HMAC with the certificate, which everybody has, as the secret."""
    signed = _signed_part({"alg": "HS256", "kid": key().key_id, "typ": "JWT"}, {})
    return f"{signed}.{_segment(hmac.digest(key().certificate.encode(), signed.encode(), 'sha256'))}"


def _signed_part(header: dict[str, Any], changes: dict[str, Any]) -> str:
    header = {name: value for name, value in header.items() if value is not None}
    return f"{_segment(json.dumps(header).encode())}.{_segment(json.dumps(claims(**changes)).encode())}"


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
