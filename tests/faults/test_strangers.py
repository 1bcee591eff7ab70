"""F20 and F21: whatever strangers send, nothing is asked of the database, nothing changes, nothing grows."""

from __future__ import annotations

import base64
import hmac
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import databases
import messages
import processes
from i3tasks_core.envelope import Envelope, derive_key, encode
from i3tasks_core.errors import EnvelopeError
from i3tasks_django.delivery import Delivery
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.runtime import runtime
from i3tasks_django.views.body import MOST_BYTES
from i3tasks_django.wsgi import receiver_routes
from i3tasks_receiver.worker import REQUEST_SECONDS
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

PUSH = "/i3/tasks-push/"
client = Client()


@pytest.fixture
def database(sqlite_session: databases.Database) -> Iterator[databases.Database]:
    """One is enough: neither is asked."""
    with databases.current(sqlite_session):
        yield sqlite_session
        databases.clear()


@pytest.fixture
def untouched(
    database: databases.Database, silent_pubsub: None, caplog: pytest.LogCaptureFixture
) -> Iterator[Envelope]:
    """A call that waits, its doorbell, and the promise that neither it nor anything else is looked at."""
    caplog.set_level("CRITICAL", "i3tasks")  # thousands of lines, kept in memory
    caplog.set_level("CRITICAL", "django.request")
    bell = messages.envelope_of(tasks.add.delay(1, 2))
    before = rows()
    with CaptureQueriesContext(connection) as queries:
        yield bell
        assert [query["sql"] for query in queries] == []
    assert rows() == before


def rows() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (TaskExecution, TaskExecutionTry)]


def post(body: bytes | str) -> int:
    response = client.post(PUSH, body, content_type="application/json")
    assert response.content == b""
    return response.status_code


def message_of(data: bytes, attributes: Any) -> bytes:
    given = {"data": base64.b64encode(data).decode(), "attributes": attributes, "messageId": "1"}
    return json.dumps({"message": given, "subscription": "projects/p/subscriptions/s"}).encode()


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SHAPES = 7


def shapes(value: Any, raw: bytes) -> list[Any]:
    """One value, and a few bytes, in every place of a body where something else is expected."""
    encoded = base64.b64encode(raw).decode()
    made = [
        value,  # NaN and Infinity among them
        {"message": value, "subscription": value},
        {"message": {"data": value, "attributes": {"signature": "0" * 64}}},
        {"message": {"data": encoded, "attributes": value, "messageId": value}},
        {"message": {"data": encoded, "attributes": {"signature": value}, "publishTime": value}},
        {"message": {"data": encoded[1:], "attributes": None}},
    ]
    assert len(made) == SHAPES - 1
    return made


class TestMalformedBodies:
    @pytest.mark.usefixtures("untouched")
    def test_are_4xx_every_one_of_two_thousand(self):
        posted = []

        @settings(
            max_examples=2000 // SHAPES + 1,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(ANYTHING, st.binary(max_size=60))
        def strangers(value: Any, raw: bytes) -> None:
            bodies = [raw, *(json.dumps(shape).encode() for shape in shapes(value, raw))]
            statuses = {body: post(body) for body in bodies}
            assert set(statuses.values()) <= {400, 403}, statuses
            posted.extend(bodies)
            # By a release to come, say: not one of them is a message of this one.
            for data in (raw, json.dumps(value).encode()):
                assert post(message_of(data, {"signature": signature_of(data)})) == 400

        strangers()
        assert len(posted) >= 2000

    def test_cut_off_anywhere_are_400(self, untouched):
        good = message_of(*encode(untouched, runtime().keys[0]))
        assert {post(good[:end]) for end in range(len(good))} == {400}

    def test_that_are_deep_are_400(self, untouched):
        data, attributes = encode(untouched, runtime().keys[0])
        for deep in (b"[" * 200_000, b'{"a":' * 40_000):
            assert post(deep) == 400
        assert post(message_of(b"[" * 100_000, {"signature": signature_of(b"[" * 100_000)})) == 400
        assert post(message_of(data, {**attributes, "signature": [[]]})) == 403


def signature_of(data: bytes, key: bytes | None = None) -> str:
    return hmac.digest(key or runtime().keys[0], data, "sha256").hex()


class TestASignature:
    """F21."""

    def test_does_not_bear_a_flipped_bit_in_the_message(self, untouched):
        data, attributes = encode(untouched, runtime().keys[0])
        for changed in flipped(data):
            assert post(message_of(changed, attributes)) == 403

    def test_does_not_bear_a_flipped_bit_of_its_own(self, untouched):
        data, attributes = encode(untouched, runtime().keys[0])
        for changed in flipped(attributes["signature"].encode()):
            assert post(message_of(data, {"signature": changed.decode("latin-1")})) == 403

    @pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 32), slice(0, 63), slice(1, 64)])
    def test_does_not_do_in_part(self, untouched, cut):
        data, attributes = encode(untouched, runtime().keys[0])
        assert post(message_of(data, {"signature": attributes["signature"][cut]})) == 403

    def test_of_another_key_is_refused(self, untouched):
        for secret in ("", "Tests", "tests "):
            assert post(message_of(*encode(untouched, derive_key(secret)))) == 403
        # Django's own use of the secret makes no message of ours.
        data, _ = encode(untouched, runtime().keys[0])
        assert post(message_of(data, {"signature": signature_of(data, b"tests")})) == 403

    def test_of_one_message_does_for_no_other_and_no_other_queue(self, untouched):
        _, attributes = encode(untouched, runtime().keys[0])
        for changes in ({"try_id": untouched.try_id + 1}, {"queue_name": "heavy"}):
            fields = {"try_id": untouched.try_id, "queue_name": untouched.queue_name} | changes
            other = Envelope(execution_id=untouched.execution_id, **fields)
            data, _ = encode(other, runtime().keys[0])
            assert post(message_of(data, attributes)) == 403

    def test_of_ours_on_another_queue_is_no_workers_to_take(self, untouched):
        with pytest.raises(EnvelopeError, match="queue 'default' on queue 'heavy'"):
            Delivery(runtime(), "heavy").read(*encode(untouched, runtime().keys[0]))

    def test_of_an_old_key_does_while_that_is_listed(self):
        handle = tasks.add.delay(1, 2)
        body = message_of(*encode(messages.envelope_of(handle), derive_key("tests")))
        with CaptureQueriesContext(connection) as queries, override_settings(SECRET_KEY="new"):
            assert post(body) == 403
            with override_settings(SECRET_KEY_FALLBACKS=["other"]):
                assert post(body) == 403
        assert len(queries) == 0
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["other", "tests"]):
            assert post(body) == 200
        assert handle.result(timeout=0) == 3


def flipped(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def resident_bytes(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.usefixtures("untouched")
def test_a_flood_of_ten_thousand_forged_posts_leaves_memory_flat():
    """Straight into what a receiver serves: the web server in front of it is the next test's."""
    routes = receiver_routes(runtime().config.queues)
    usual = RequestFactory().post(PUSH, content_type="application/json").environ
    statuses: set[str] = set()
    after_warming_up = 0
    for number in range(10_000):
        forged = {
            "data": "e30=",
            "attributes": {"signature": f"{number:064x}"},
            "messageId": f"{number:0200}",
        }
        body = json.dumps({"message": forged}).encode()
        environ = {**usual, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        assert b"".join(routes(environ, lambda status, _headers: statuses.add(status))) == b""
        if number == 1000:
            after_warming_up = resident_bytes()
    assert statuses == {"403 Forbidden"}
    assert resident_bytes() - after_warming_up < 8_000_000


OPENED: list[socket.socket] = []


class Peer:
    """A connection to the receiver that says exactly what it is told to."""

    HEAD = f"POST {PUSH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

    def __init__(self, port: int, *first: str | bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sent_count = 0
        OPENED.append(self.socket)
        for part in first:
            self.say(part)

    def say(self, part: str | bytes) -> None:
        raw = part.encode() if isinstance(part, str) else part
        self.socket.sendall(raw)
        self.sent_count += len(raw)

    def hears(self) -> tuple[int, bytes]:
        """Status and body of one answer; 0 when the connection ends without one."""
        answer = b""
        try:
            while b"\r\n\r\n" not in answer:
                if not (some := self.socket.recv(4096)):
                    break
                answer += some
        except ConnectionError:
            pass
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body

    def says_until_hung_up(self, part: bytes, pause: float = 0.0) -> None:
        with suppress(OSError):
            while self.sent_count < 64 << 20:
                self.say(part)
                time.sleep(pause)


@pytest.fixture
def stack(database: databases.Database) -> Iterator[processes.Stack]:
    with processes.stack(database) as services:
        yield services
    while OPENED:
        OPENED.pop().close()


def test_a_receiver_bears_endless_slow_and_oversized_senders(stack):
    """And at its end it begins no more tasks."""
    handle = tasks.add.delay(1, 2)
    before = rows()
    receiver = stack.receiver()
    (worker,) = Path(f"/proc/{receiver.pid}/task/{receiver.pid}/children").read_text().split()
    port = stack.port
    receiver.says("pubsub_undeclared")  # by now it has imported everything that takes memory

    began = time.monotonic()
    slow = [
        Peer(port, "POST /i3/tasks-push/ HT"),
        Peer(port, Peer.HEAD, "Content-Length: 1000\r\n\r\n", "{"),
        Peer(port, Peer.HEAD, "Transfer-Encoding: chunked\r\n\r\n", "5\r\nhe"),
    ]
    drips = Peer(port, Peer.HEAD, "Content-Length: 100000\r\n\r\n")
    dripping = threading.Thread(target=drips.says_until_hung_up, args=(b" ", 0.2))
    dripping.start()

    malformed = {
        "Content-Length: 262145\r\n\r\n": 413,
        "Content-Length: 99999999999999999999\r\n\r\n": 413,
        "Content-Length: -1\r\n\r\n": 400,
        "Content-Length: 1, 2\r\n\r\n": 400,
        "Transfer-Encoding: gzip\r\n\r\n": 400,
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\n": 400,
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n": 400,
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n": 400,
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n": 400,
        f"Authorization: Bearer {'x' * 65_536}\r\nContent-Length: 2\r\n\r\n{{}}": 400,
        "Bad Header: x\r\n\r\n": 400,
        "Content-Length: 2\r\n\r\n{}": 400,
    }
    for rest, status in malformed.items():
        assert Peer(port, Peer.HEAD, rest).hears() == (status, b""), rest[:60]
    assert Peer(port, "GET / HTTP/9\r\n\r\n").hears() == (400, b"")

    good = message_of(*encode(messages.envelope_of(handle), runtime().keys[0]))
    resident = resident_bytes(worker)
    for _ in range(12):
        endless = Peer(port, Peer.HEAD, "Transfer-Encoding: chunked\r\n\r\n")
        endless.says_until_hung_up(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        assert endless.hears()[0] in (413, 0)  # the answer is lost when the hanging up overtakes it
        assert endless.sent_count < 16 << 20
    exact = Peer(port, Peer.HEAD, f"Content-Length: {MOST_BYTES}\r\n\r\n", b" " * MOST_BYTES)
    assert exact.hears() == (400, b"")
    assert resident_bytes(worker) - resident < 16_000_000

    dripping.join(30)
    assert not dripping.is_alive()
    assert [peer.hears() for peer in slow[1:]] == [(400, b"")] * 2
    assert slow[0].hears()[0] in (0, 400)
    assert time.monotonic() - began > REQUEST_SECONDS - 1
    assert processes.get(port, "/health/ready")[0] == 200
    assert rows() == before

    probe, late = (Peer(port, Peer.HEAD, "Content-Length: 2\r\n\r\n{}") for _ in range(2))
    assert probe.hears() == late.hears() == (400, b"")
    receiver.signal(signal.SIGTERM)
    # Until the signal has come through, what is no message gets its 400; after that, nothing is looked at.
    assert processes.wait_until(lambda: not_400(probe), 20) == 503
    with suppress(OSError):
        late.say(f"{Peer.HEAD}Content-Length: {len(good)}\r\n\r\n".encode() + good)
    assert late.hears()[0] in (503, 0)  # it may have been closed meanwhile
    assert receiver.exit_code() == 0
    assert messages.states(handle) == ["pending"]
    assert "Traceback" not in receiver.output


def not_400(peer: Peer) -> int | None:
    peer.say(f"{Peer.HEAD}Content-Length: 2\r\n\r\n{{}}")
    status = peer.hears()[0]
    return status if status != 400 else None
