"""With a service account's file a client is made without asking anybody for credentials."""

from __future__ import annotations

import json
import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from i3tasks_core.config import PubSubConfig
from i3tasks_core.pubsub.clients import Clients


def test_a_service_accounts_file_is_read(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "account.json"
    account = {
        "type": "service_account",
        "client_email": "tasks@shop.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path.write_text(json.dumps(account))
    clients = Clients(PubSubConfig.of({"EMULATOR": False, "PROJECT_ID": "shop", "CREDENTIALS": path}))

    publisher, subscriber = clients.publisher(), clients.subscriber()

    assert publisher.transport.host == subscriber.transport.host == "pubsub.googleapis.com:443"
    assert clients.publisher() is publisher
    clients.close()


def test_a_client_is_not_shared_with_a_forked_child(embedded_pubsub):
    clients = Clients(embedded_pubsub)
    mine = clients.publisher()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"same" if clients.publisher() is mine else b"other")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 5) == b"other"
    clients.close()


def test_the_environment_is_never_changed_for_the_emulator(embedded_pubsub):
    clients = Clients(embedded_pubsub)
    clients.publisher()

    assert "PUBSUB_EMULATOR_HOST" not in os.environ
    clients.close()
