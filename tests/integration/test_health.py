"""The health page answers exactly the documented JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

import messages
from i3tasks_django import store
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.views import health as health_view
from project import tasks

pytestmark = pytest.mark.usefixtures("database")

client = Client()


def get(**headers):
    """A report of now, and not the one of a moment ago."""
    health_view._kept.forget()
    return client.get("/i3/tasks-health/", headers=headers)


def test_an_empty_system_is_well():
    response = get()

    found = response.json()
    assert response.status_code == 200
    assert datetime.fromisoformat(found.pop("now")).utcoffset() == timedelta(0)
    assert found == {
        "status": "ok",
        "window_minutes": 60,
        "thresholds": {"stuck_minutes": 15, "failed_threshold": 5, "pending_age_seconds_threshold": 300},
        "totals": {"pending": 0, "running": 0, "success": 0, "failed": 0},
        "stuck_running": 0,
        "oldest_pending_age_seconds": 0,
        "problems": [],
        "by_task": [],
    }


def test_tries_are_counted_by_state_and_task():
    for _ in range(2):
        messages.deliver(tasks.add.delay(1, 2))
    messages.deliver(tasks.fail_for_good.delay())
    tasks.add.delay(1, 2)
    store.claim([messages.envelope_of(tasks.add.delay(1, 2))], lease=timedelta(minutes=1), worker="w")

    found = get().json()
    assert found["totals"] == {"pending": 1, "running": 1, "success": 2, "failed": 1}
    assert found["by_task"] == [
        {
            "task_path": "project.tasks.fail_for_good",
            "task_name": "fail_for_good",
            "success": 0,
            "failed": 1,
            "running": 0,
            "pending": 0,
        },
        {
            "task_path": "project.tasks.add",
            "task_name": "add",
            "success": 2,
            "failed": 0,
            "running": 1,
            "pending": 1,
        },
    ]


def test_a_stuck_try_is_critical_also_outside_the_window():
    store.claim([messages.envelope_of(tasks.add.delay(1, 2))], lease=timedelta(minutes=1), worker="w")
    long_ago = Now() - timedelta(hours=5)
    TaskExecutionTry.objects.update(started_at=long_ago, asked_at=long_ago)

    response = get()
    assert response.status_code == 503
    assert response.json()["status"] == "critical"
    assert response.json()["stuck_running"] == 1
    assert response.json()["problems"] == ["1 tries have been running for more than 15 minutes"]
    assert response.json()["totals"]["running"] == 0


def test_an_old_pending_try_is_critical():
    tasks.add.delay(1, 2)
    TaskExecutionTry.objects.update(asked_at=Now() - timedelta(seconds=400))

    response = get()
    assert (response.status_code, response.json()["status"]) == (503, "critical")
    assert 400 <= response.json()["oldest_pending_age_seconds"] < 500


def test_a_delayed_try_ages_from_when_it_was_due():
    tasks.add.using(run_after=timedelta(hours=1)).delay(1, 2)
    TaskExecutionTry.objects.update(asked_at=Now() - timedelta(hours=2))
    assert get().json()["oldest_pending_age_seconds"] == 0

    TaskExecutionTry.objects.update(run_after=Now() - timedelta(seconds=30))
    assert 30 <= get().json()["oldest_pending_age_seconds"] < 100


def test_many_failures_are_a_warning():
    for _ in range(6):
        messages.deliver(tasks.fail_for_good.delay())

    response = get()
    assert (response.status_code, response.json()["status"]) == (200, "warning")
    assert response.json()["problems"] == [
        "6 tries have failed in the last 60 minutes; at most 5 are expected"
    ]


def test_lost_tries_count_as_failed():
    store.claim([messages.envelope_of(tasks.add.delay(1, 2))], lease=timedelta(minutes=1), worker="w")
    TaskExecutionTry.objects.update(lease_until=Now() - timedelta(seconds=1))
    for try_id in store.expired(1):
        store.rescue([try_id])

    assert get().json()["totals"]["failed"] == 1


def test_the_page_costs_two_queries():
    messages.deliver(tasks.add.delay(1, 2))
    with CaptureQueriesContext(connection) as queries:
        get()
    assert len(queries) == 2


def test_the_page_is_kept_for_two_seconds_and_never_by_others(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(health_view, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    first = get()
    with CaptureQueriesContext(connection) as queries:
        again = client.get("/i3/tasks-health/")
        clock[0] += 1.9
        client.get("/i3/tasks-health/")
    assert len(queries) == 0
    assert again.json() == first.json()
    assert again.headers["Cache-Control"] == "no-store"

    clock[0] += 0.2
    with CaptureQueriesContext(connection) as queries:
        client.get("/i3/tasks-health/")
    assert len(queries) == 2


def test_whoever_has_no_token_costs_no_query(i3tasks):
    i3tasks(health_token="s3cret")
    health_view._kept.forget()
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/i3/tasks-health/").status_code == 401
    assert len(queries) == 0


def test_the_page_names_fifty_tasks_and_counts_all(monkeypatch):
    monkeypatch.setattr("i3tasks_django.health.MOST_TASKS", 1)
    messages.deliver(tasks.fail_for_good.delay())
    messages.deliver(tasks.add.delay(1, 2))

    found = get().json()
    assert [task["task_name"] for task in found["by_task"]] == ["fail_for_good"]
    assert found["totals"] == {"pending": 0, "running": 0, "success": 1, "failed": 1}


def test_a_token_is_asked_for_when_one_is_set(i3tasks):
    i3tasks(health_token="s3cret")

    assert get().status_code == 401
    assert get(Authorization="Bearer wrong").status_code == 401
    assert get(Authorization="Bearer gehéim").status_code == 401
    assert get(Authorization="Bearer s3cret").status_code == 200
    assert client.get("/i3/tasks-health/?token=s3cret").status_code == 200
    assert client.get("/i3/tasks-health/?token=wrong").status_code == 401


def test_the_answer_is_not_kept_by_caches():
    assert "no-store" in get().headers["Cache-Control"]


def drop_connection():
    """As after a restart of the server: the connection of this thread is dead and does not know it."""
    if connection.vendor == "postgresql":
        connection.connection.close()
    else:
        pytest.skip("SQLite has no server to restart")


def test_a_restarted_database_costs_one_answer_at_most():
    get()
    drop_connection()

    assert [get().status_code, get().status_code][1] == 200


class TestTheBeatEndpoint:
    def post(self, **headers):
        return client.post("/i3/tasks-beat/", headers=headers)

    def test_it_makes_a_pass_and_tells_what_it_did(self):
        response = self.post()

        assert response.status_code == 200
        assert response.json() == {"status": "ok", "fired": 0, "published": 0, "rescued": 0}

    def test_it_is_closed_in_production_unless_a_token_opens_it(self, i3tasks, settings_for_google_cloud):
        assert self.post().status_code == 401
        i3tasks(beat_token="s3cret")
        assert self.post().status_code == 401
        assert self.post(Authorization="Bearer s3cret").status_code == 200

    def test_only_post_is_answered(self):
        assert client.get("/i3/tasks-beat/").status_code == 405
