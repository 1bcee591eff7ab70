"""What each door answers, row by row, and that it asks the database last."""

from __future__ import annotations

import functools
import json
import threading
import time
from contextlib import contextmanager
from io import BytesIO

import pytest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.signing import TimestampSigner, b62_encode
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

import certificate_server
import databases
import messages
from certificate_server import key, token
from i3tasks_core.states import ExecutionState
from i3tasks_django.runtime import runtime
from i3tasks_django.views import places, push
from i3tasks_django.views.body import MOST_BYTES
from i3tasks_django.wsgi import receiver_routes
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


@pytest.fixture
def database(sqlite_session):
    """One is enough here: what a door answers does not depend on it."""
    with databases.current(sqlite_session):
        yield sqlite_session
        databases.clear()


client = Client()
PUSH, BEAT = "/i3/tasks-push/", "/i3/tasks-beat/"


@pytest.fixture
def certificates():
    with certificate_server.certificate_server() as server:
        yield server


@pytest.fixture
def guarded(certificates, i3tasks):
    """Doors that ask for a token."""
    i3tasks(push_auth=certificates.oidc())
    return certificates


def bearer(given):
    return {"Authorization": f"Bearer {given}"}


def post(body=b"{}", content_type="application/json", path=PUSH, **headers):
    return client.post(path, body, content_type=content_type, headers=headers)


@contextmanager
def no_queries():
    with CaptureQueriesContext(connection) as queries:
        yield
    assert [query["sql"] for query in queries] == []


def good():
    return messages.push_json(messages.envelope_of(tasks.add.delay(1, 2)))


class TestThePushDoor:
    def test_200_and_nothing_else_is_said_of_what_is_consumed(self):
        response = post(good())
        assert (response.status_code, response.content) == (200, b"")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
    def test_405_other_methods(self, method):
        with no_queries():
            response = client.generic(method, PUSH, good_body := b"{}")
        assert good_body
        assert (response.status_code, response.content) == (405, b"")
        assert response.headers["Allow"] == "POST"

    @pytest.mark.parametrize(
        "content_type",
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", "é"],
    )
    def test_415_other_types(self, content_type):
        body = good()
        with no_queries():
            assert post(body, content_type).status_code == 415

    @pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", ""])
    def test_200_json_by_its_other_names_and_without_one(self, content_type):
        assert post(good(), content_type).status_code == 200

    def test_413_too_large_by_its_header_before_a_byte_is_read(self):
        unread = Unreadable()
        with no_queries():
            response = raw(unread, CONTENT_LENGTH=str(MOST_BYTES + 1))
        assert (response.status_code, response.content) == (413, b"")
        assert unread.asked == []

    @pytest.mark.parametrize("length", ["9" * 5000, "1e9", "-5", "0x10", "٣"])
    def test_4xx_a_length_that_is_none(self, length):
        with no_queries():
            response = client.generic("POST", PUSH, b"", "application/json", CONTENT_LENGTH=length)
        assert response.status_code in (400, 413)

    def test_413_too_large_in_chunks_and_not_read_further(self):
        endless = Endless()
        with no_queries():
            response = chunked(endless)
        assert response.status_code == 413
        assert endless.given <= MOST_BYTES + 1

    def test_200_in_chunks(self):
        assert chunked(BytesIO(good().encode())).status_code == 200

    def test_400_chunks_that_break_off(self):
        with no_queries():
            assert chunked(Unreadable()).status_code == 400

    def test_a_message_of_just_the_limit_is_read(self):
        body = good()
        assert post(body + " " * (MOST_BYTES - len(body))).status_code == 200
        assert post(body + " " * (MOST_BYTES - len(body) + 1)).status_code == 413

    def test_429_when_all_places_are_taken_and_200_afterwards(self, monkeypatch):
        monkeypatch.setattr(push, "places", functools.cache(lambda: places.Places(1)))
        entered, leave = threading.Event(), threading.Event()
        body, later = good(), good()

        def deliver(*_args):
            entered.set()
            leave.wait(20)

        with monkeypatch.context() as patch:
            patch.setattr(push.Delivery, "deliver", deliver)
            busy = threading.Thread(target=post, args=[body])
            busy.start()
            assert entered.wait(20)
            with no_queries():
                response = post(later)
            leave.set()
            busy.join()
        assert (response.status_code, response.content) == (429, b"")
        assert response.headers["Retry-After"] == "10"
        assert post(later).status_code == 200

    def test_a_place_is_given_back_whatever_happens(self, monkeypatch):
        monkeypatch.setattr(push, "places", functools.cache(lambda: places.Places(1)))
        body = good()
        with monkeypatch.context() as patch:
            patch.setattr("i3tasks_django.delivery.store.claim", away)
            assert [post(body).status_code for _ in range(3)] == [503] * 3
        assert post(body).status_code == 200

    def test_places_are_as_many_as_a_receiver_has_threads(self, monkeypatch):
        monkeypatch.setenv("I3TASKS_THREADS", "2")
        found = places.places.__wrapped__()
        with found.taken() as first, found.taken() as second, found.taken() as third:
            assert (first, second, third) == (True, True, False)

    def test_503_while_the_database_is_away(self, monkeypatch):
        body = good()
        monkeypatch.setattr("i3tasks_django.delivery.store.claim", away)
        response = post(body)
        assert (response.status_code, response.content) == (503, b"")
        assert response.headers["Retry-After"] == "10"


class Unreadable(BytesIO):
    """A connection that nobody may read from, or that breaks when somebody does."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def read(self, size=-1):
        self.asked.append(size)
        raise OSError("broken off")


class Endless(BytesIO):
    def __init__(self):
        super().__init__()
        self.given = 0

    def read(self, size=-1):
        self.given += size
        return b" " * size


def away(*_args, **_kwargs):
    raise OperationalError("connection refused")


def raw(stream, path=PUSH, **environ):
    """A request whose body is a stream of the test's own, through Django's handler and the project's URLs."""
    usual = RequestFactory().post(path, content_type="application/json").environ
    environ = usual | {"CONTENT_LENGTH": "", "wsgi.input": stream} | environ
    return WSGIHandler().get_response(WSGIRequest(environ))


def chunked(stream):
    """As a server hands on a chunked body: without a length, and with its word that the stream ends."""
    return raw(stream, HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input_terminated": True})


ANOTHER = {"aud": "https://elsewhere.example.com/"}
REFUSED = {
    "none": (401, dict),
    "empty": (401, lambda: bearer("")),
    "another scheme": (401, lambda: {"Authorization": f"Basic {token()}"}),
    "no token": (401, lambda: bearer("a.b.c")),
    "alg none": (401, lambda: bearer(certificate_server.unsigned_token())),
    "HS256 with the public key": (401, lambda: bearer(certificate_server.token_signed_with_the_public_key())),
    "unknown kid": (401, lambda: bearer(token(header={"kid": "unknown"}))),
    "another's key": (401, lambda: bearer(token(key(1), header={"kid": key().key_id}))),
    "another issuer": (401, lambda: bearer(token(iss="https://evil.example.com"))),
    "expired": (401, lambda: bearer(token(exp=int(time.time()) - 60, iat=int(time.time()) - 3660))),
    "64 kB": (401, lambda: bearer(token(padding="x" * 49_152))),
    "another audience": (403, lambda: bearer(token(**ANOTHER))),
    "another account": (403, lambda: bearer(token(email="somebody@shop.example.com"))),
    "unverified": (403, lambda: bearer(token(email_verified=False))),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("path", [PUSH, BEAT])
def test_a_token_that_will_not_do_is_refused_without_a_query(guarded, path, name):
    status, headers = REFUSED[name]
    body = good()
    with no_queries():
        response = post(body, path=path, **headers())
    assert (response.status_code, response.content) == (status, b"")
    assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


def test_a_token_of_ours_opens_both_doors_and_replaces_no_signature(guarded):
    assert post(good(), **bearer(token())).status_code == 200
    assert post(path=BEAT, **bearer(token())).status_code == 200
    forged = json.dumps({"message": {"data": "e30=", "attributes": {"signature": "0" * 64}}})
    with no_queries():
        assert post(forged, **bearer(token())).status_code == 403
    assert guarded.fetch_count == 1


@pytest.mark.parametrize("path", [PUSH, BEAT])
def test_a_token_is_asked_for_before_the_body_is_read(guarded, path):
    unread = Unreadable()
    response = raw(unread, path, CONTENT_LENGTH="100")
    assert response.status_code == 401
    assert unread.asked == []


@pytest.mark.parametrize("path", [PUSH, BEAT])
def test_503_while_there_are_no_certificates_at_one_fetch_for_all(guarded, path):
    guarded.status = 500
    body, header = good(), bearer(token())
    with no_queries():
        responses = [post(body, path=path, **header) for _ in range(5)]
    assert {response.status_code for response in responses} == {503}
    assert responses[0].headers["Retry-After"] == "10"
    assert guarded.fetch_count == 1


def test_an_unreadable_token_is_401_also_without_certificates(guarded):
    guarded.status = 500
    assert post(path=BEAT, **bearer("a.b.c")).status_code == 401
    assert guarded.fetch_count == 0


def test_why_tokens_are_refused_is_logged_once_a_minute(guarded, caplog, monkeypatch):
    monkeypatch.setattr("i3tasks_django.views.token._told", {})
    for _ in range(5):
        post(**bearer(token(**ANOTHER)))
        post()

    said = [record.fields for record in caplog.records if getattr(record, "event", "") == "token_refused"]
    assert [fields["door"] for fields in said] == ["push", "push"]
    assert "audience" in said[0]["reason"]
    assert "elsewhere" not in str(said)


class TestTheBeatDoor:
    def test_takes_neither_time_nor_task_from_a_request(self):
        asked = json.dumps({"now": "2000-01-01T00:00:00Z", "task": "project.tasks.add", "args": [1, 2]})
        response = client.post(
            f"{BEAT}?now=2000-01-01&task=project.tasks.add", asked, content_type="application/json"
        )
        assert response.json() == {"status": "ok", "fired": 0, "published": 0, "rescued": 0}

    def test_is_closed_by_a_token_also_beside_an_emulator(self, i3tasks):
        i3tasks(beat_token="s3cret")
        with no_queries():
            assert post(path=BEAT).status_code == 401
        assert post(path=BEAT, **bearer("s3cret")).status_code == 200

    def test_takes_either_of_two_tokens(self, guarded, i3tasks):
        i3tasks(beat_token="s3cret")
        assert post(path=BEAT, **bearer("s3cret")).status_code == 200
        assert post(path=BEAT, **bearer(token())).status_code == 200
        with no_queries():
            assert post(path=BEAT, **bearer("wrong")).status_code == 401

    @pytest.mark.usefixtures("settings_for_google_cloud")
    def test_in_production_debug_alone_opens_it(self, override):
        with no_queries():
            assert post(path=BEAT).status_code == 401
        override(DEBUG=True)
        assert post(path=BEAT).status_code == 200

    @pytest.mark.usefixtures("settings_for_google_cloud")
    def test_nothing_opens_it_while_a_token_is_set(self, i3tasks, override):
        i3tasks(beat_token="s3cret")
        override(DEBUG=True)
        assert post(path=BEAT).status_code == 401


def signed_at(patch, seconds):
    patch.setattr(TimestampSigner, "timestamp", lambda _self: b62_encode(int(seconds)))


class TestTheStatusDoor:
    def get(self, handle_id, query="", **headers):
        return client.get(f"/i3/tasks-status/{handle_id}/{query}", headers=headers)

    def test_tells_how_a_call_is_and_what_came_of_it(self, i3tasks):
        i3tasks(status_token="s3cret")
        handle = tasks.add.delay(1, 2)
        before = self.get(handle.id, **bearer("s3cret")).json()
        messages.deliver(handle)
        with CaptureQueriesContext(connection) as queries:
            response = self.get(handle.id, **bearer("s3cret"))

        assert (before["state"], before["result"], before["finished_at"]) == ("pending", None, None)
        assert len(queries) == 2
        assert response.headers["Cache-Control"] == "no-store"
        found = response.json()
        (attempt,) = found.pop("tries")
        assert (attempt["try_number"], attempt["state"], attempt["error_class"]) == (1, "success", "")
        assert attempt["asked_at"] <= attempt["started_at"] <= attempt["finished_at"]
        assert found.pop("created_at") <= found.pop("finished_at")
        assert found == {"id": str(handle.id), "task": "project.tasks.add", "state": "success", "result": 3}

    def test_tells_of_an_error_its_class_alone(self):
        handle = tasks.break_down.delay("s3cret text")
        messages.deliver(handle)

        response = client.get(handle.status_url())
        assert response.json()["state"] == ExecutionState.FAILED
        assert [attempt["error_class"] for attempt in response.json()["tries"]] == ["ValueError"]
        assert b"s3cret" not in response.content
        assert b"Traceback" not in response.content

    def test_is_shut_without_a_token_in_the_settings(self):
        handle = tasks.add.delay(1, 2)
        with no_queries():
            assert self.get(handle.id).status_code == 404
            assert self.get(handle.id, **bearer("s3cret")).status_code == 404

    def test_falls_back_on_the_token_of_the_health_page(self, i3tasks):
        i3tasks(health_token="health")
        handle = tasks.add.delay(1, 2)
        assert self.get(handle.id, **bearer("health")).status_code == 200

        i3tasks(status_token="status")
        with no_queries():
            assert self.get(handle.id, **bearer("health")).status_code == 401
            assert self.get(handle.id).status_code == 401
        assert self.get(handle.id, "?token=status").status_code == 200

    def test_an_unknown_call_is_404(self, i3tasks):
        i3tasks(status_token="s3cret")
        assert self.get("00000000-0000-7000-8000-000000000000", **bearer("s3cret")).status_code == 404
        assert self.get("no-uuid", **bearer("s3cret")).status_code == 404

    def test_a_signed_address_shows_one_call_to_everybody(self, i3tasks):
        i3tasks(status_token="s3cret")
        handle, other = tasks.add.delay(1, 2), tasks.add.delay(3, 4)
        url = handle.status_url()

        assert url.startswith(f"/i3/tasks-status/{handle.id}/?signature=")
        assert client.get(url).json()["id"] == str(handle.id)
        with no_queries():
            assert client.get(url.replace(str(handle.id), str(other.id))).status_code == 404

    def test_every_changed_signature_is_404_without_a_query(self):
        url = tasks.add.delay(1, 2).status_url()
        start = url.index("signature=") + len("signature=")
        with no_queries():
            for place in range(start, len(url)):
                changed = "A" if url[place] != "A" else "B"
                assert client.get(url[:place] + changed + url[place + 1 :]).status_code == 404
            for signature in ("", ":", "a:b", "%00", "%FF", "x" * 5000):
                assert client.get(f"{url[:start]}{signature}").status_code == 404

    def test_a_signed_address_ends_after_a_day(self, monkeypatch):
        handle = tasks.add.delay(1, 2)
        with monkeypatch.context() as patch:
            signed_at(patch, time.time() - 86_410)
            yesterday = handle.status_url()
            signed_at(patch, time.time() - 86_300)
            today = handle.status_url()
        assert client.get(yesterday).status_code == 404
        assert client.get(today).status_code == 200

    def test_a_signed_address_outlives_a_change_of_the_secret_while_it_is_listed(self, override):
        url = tasks.add.delay(1, 2).status_url()
        override(SECRET_KEY="new")
        assert client.get(url).status_code == 404
        override(SECRET_KEY_FALLBACKS=["tests"])
        assert client.get(url).status_code == 200

    def test_of_a_call_that_is_gone_is_404(self):
        handle = tasks.add.delay(1, 2)
        url = handle.status_url()
        messages.execution(handle).delete()
        assert client.get(url).status_code == 404

    def test_only_reading_is_answered(self):
        assert client.post(tasks.add.delay(1, 2).status_url()).status_code == 405

    def test_503_while_the_database_is_away(self, monkeypatch):
        url = tasks.add.delay(1, 2).status_url()
        monkeypatch.setattr("i3tasks_django.views.status.status_of", away)
        assert client.get(url).status_code == 503


@pytest.mark.parametrize("path", ["/i3/tasks-push/", "/health/live", "/nowhere"])
def test_a_type_that_cannot_be_read_is_a_bad_request(path):
    told = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80",
        "CONTENT_TYPE": "application/json; a*=foo'x'%41", "CONTENT_LENGTH": "2",
        "wsgi.input": BytesIO(b"{}"), "wsgi.url_scheme": "http",
    }  # fmt: skip
    body = receiver_routes(runtime().config.queues)(environ, lambda status, _headers: told.append(status))

    assert told == ["400 Bad Request"]
    assert b"".join(body) == b""


def test_a_thousand_parameters_are_a_bad_request(i3tasks):
    i3tasks(health_token="secret")
    told = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/i3/tasks-health/", "SERVER_NAME": "x", "SERVER_PORT": "80",
        "QUERY_STRING": "a&" * 1_200, "wsgi.input": BytesIO(b""), "wsgi.url_scheme": "http",
    }  # fmt: skip
    receiver_routes(runtime().config.queues)(environ, lambda status, _headers: told.append(status))

    assert told == ["400 Bad Request"]


def test_no_report_of_an_error_shows_a_token(i3tasks):
    config = i3tasks(health_token="secret-1", beat_token="secret-2", status_token="secret-3").config

    assert "secret" not in repr(config)
