"""``POST /i3/tasks-push/``: the status says whether the message is consumed."""

from __future__ import annotations

import base64
import json
import uuid

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings

import messages
from i3tasks_core.envelope import Envelope
from i3tasks_core.states import ExecutionState
from project import tasks

pytestmark = pytest.mark.usefixtures("database")

client = Client()


def post(body):
    return client.post("/i3/tasks-push/", body, content_type="application/json")


def test_a_message_runs_its_task_and_is_consumed():
    handle = tasks.add.delay(1, 2)

    assert post(messages.push_json(messages.envelope_of(handle))).status_code == 200
    assert handle.result(timeout=0) == 3


def test_a_duplicate_runs_nothing_and_is_consumed_at_two_statements(tmp_path):
    handle = tasks.succeed_at_last.using(queue_name="default").delay(str(tmp_path / "f"))
    body = messages.push_json(messages.envelope_of(handle))
    post(body)

    with CaptureQueriesContext(connection) as queries:
        assert post(body).status_code == 200
    assert len(queries) <= 2
    assert (tmp_path / "f").read_text() == "try\n"


@pytest.mark.parametrize("task", [tasks.fail, tasks.fail_for_good, tasks.exit_the_interpreter])
def test_a_failed_try_is_consumed(task):
    handle = task.delay()

    assert post(messages.push_json(messages.envelope_of(handle))).status_code == 200
    assert messages.states(handle)[0] == "failed"


def test_a_message_for_a_call_that_is_not_there_is_consumed():
    envelope = Envelope(try_id=10**9, execution_id=tasks.add.delay(1, 2).id, queue_name="default")

    assert post(messages.push_json(envelope)).status_code == 200


def _without(body, *path):
    changed = json.loads(body)
    at = changed
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return json.dumps(changed)


def _forged():
    data = json.dumps({"module_name": "os", "func_name": "abort", "v": 1, "try": 1, "queue": "default"})
    message = {"data": base64.b64encode(data.encode()).decode(), "attributes": {"signature": "0" * 64}}
    return json.dumps({"message": message})


UNREADABLE = [
    b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000,
    b'{"message": 1}', b'{"message": {"data": "%%%"}}', b'{"message": {"data": "", "attributes": 5}}',
]  # fmt: skip


def test_bodies_that_nobody_can_read_are_refused_without_a_query():
    good = messages.push_json(messages.envelope_of(tasks.add.delay(1, 2)))
    unreadable = [*UNREADABLE, _without(good, "message"), _without(good, "message", "data")]
    unsigned = [_forged(), _without(good, "message", "attributes")]

    for status, bodies in ((400, unreadable), (403, unsigned)):
        for body in bodies:
            with CaptureQueriesContext(connection) as queries:
                response = post(body)
            assert (response.status_code, response.content) == (status, b""), body[:60]
            assert len(queries) == 0


def test_a_message_that_nobody_can_read_is_logged_once(caplog):
    message_id = uuid.uuid4().hex
    body = json.dumps({"message": {"messageId": message_id, "data": "", "attributes": {}}})
    for _ in range(3):
        assert post(body).status_code == 403

    assert [record.fields["message_id"] for record in caplog.records if record.name == "i3tasks"] == [
        message_id
    ]


def test_only_post_is_answered():
    assert client.get("/i3/tasks-push/").status_code == 405


def test_a_message_signed_with_an_older_secret_is_read_while_it_is_listed():
    handle = tasks.add.delay(1, 2)
    body = messages.push_json(messages.envelope_of(handle))

    with override_settings(SECRET_KEY="new"):
        assert post(body).status_code == 403
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["tests"]):
        assert post(body).status_code == 200
    assert handle.state is ExecutionState.SUCCESS


def test_without_its_database_the_endpoint_asks_for_another_delivery(monkeypatch):
    body = messages.push_json(messages.envelope_of(tasks.add.delay(1, 2)))

    def away(*_args, **_kwargs):
        raise OperationalError("connection refused")

    monkeypatch.setattr("i3tasks_django.delivery.store.claim", away)
    response = post(body)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"


def test_atomic_requests_do_not_wrap_the_run(database):
    handle = tasks.leave_a_transaction_open.delay()
    with override_settings():
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            assert post(messages.push_json(messages.envelope_of(handle))).status_code == 200
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert handle.state is ExecutionState.SUCCESS
