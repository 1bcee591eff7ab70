"""What Prometheus is told, the sidecar that tells it, and the passes that are counted."""

from __future__ import annotations

import http.client
import re
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.db.utils import OperationalError, ProgrammingError
from django.test.utils import CaptureQueriesContext

import messages
import processes
from i3tasks_django import beating, metrics, store
from i3tasks_django.beating import Beat, SideBeat
from i3tasks_django.maintenance import Pass
from i3tasks_django.metrics import Metrics
from i3tasks_django.models import TaskExecutionTry
from i3tasks_django.service import CannotStart
from i3tasks_django.sidecar import serve_health
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


def figures(told: Metrics) -> dict[str, float]:
    text = told.text().decode()
    return {name: float(value) for name, value in re.findall(r"^(i3tasks_\w+) (\S+)$", text, re.MULTILINE)}


def test_passes_are_counted_with_what_they_did():
    told = Metrics()
    for _ in range(2):
        told.passed(Pass(fired_count=1, published_count=20, rescued_count=3, cleaned_count=400), 0.25)
    told.passed(None, 5.0)

    found = figures(told)
    assert found["i3tasks_passes_total"] == 3
    assert found["i3tasks_passes_failed_total"] == 1
    assert (found["i3tasks_pass_seconds_count"], found["i3tasks_pass_seconds_sum"]) == (3, 5.5)
    assert found["i3tasks_fired_total"] == 2
    assert found["i3tasks_published_total"] == 40
    assert found["i3tasks_rescued_total"] == 6
    assert found["i3tasks_cleaned_total"] == 800
    assert 0 <= found["i3tasks_last_pass_age_seconds"] < 5


def test_two_services_in_one_process_count_apart():
    first, second = Metrics(), Metrics()
    first.passed(None, 1.0)

    assert figures(first)["i3tasks_passes_total"] == 1
    assert figures(second)["i3tasks_passes_total"] == 0


def test_the_database_is_asked_what_waits_and_what_runs():
    messages.deliver(tasks.add.delay(1, 2))
    for _ in range(3):
        tasks.add.delay(1, 2)
    TaskExecutionTry.objects.filter(state="pending").update(asked_at=Now() - timedelta(seconds=90))
    store.claim([messages.envelope_of(tasks.add.delay(1, 2))], lease=timedelta(minutes=1), worker="w")
    tasks.add.using(run_after=timedelta(hours=1)).delay(1, 2)
    TaskExecutionTry.objects.filter(run_after__isnull=False).update(asked_at=Now() - timedelta(hours=1))

    found = figures(Metrics())

    assert found["i3tasks_tries_pending_due"] == 3
    assert 90 <= found["i3tasks_tries_pending_oldest_age_seconds"] < 150
    assert found["i3tasks_tries_running"] == 1


def test_an_empty_database_gives_zeros():
    found = figures(Metrics())

    assert found["i3tasks_tries_pending_due"] == 0
    assert found["i3tasks_tries_pending_oldest_age_seconds"] == 0
    assert found["i3tasks_tries_running"] == 0


def test_many_scrapes_are_one_query():
    told = Metrics()
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            told.text()
    assert len(queries) == 1


def test_after_two_seconds_the_database_is_asked_again(monkeypatch):
    told = Metrics()
    told.text()
    tasks.add.delay(1, 2)
    assert figures(told)["i3tasks_tries_pending_due"] == 0

    monkeypatch.setattr(metrics, "KEPT_FOR", 0.0)
    assert figures(told)["i3tasks_tries_pending_due"] == 1


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError])
def test_a_database_that_cannot_be_asked_says_nothing_and_spoils_nothing(error):
    def fail(*_):
        raise error("no such thing")

    with connection.execute_wrapper(fail):
        found = figures(Metrics())

    assert "i3tasks_tries_running" not in found
    assert found["i3tasks_passes_total"] == 0


class TestABeat:
    def test_counts_its_passes(self):
        tasks.add.delay(1, 2)
        beat = Beat()
        beat.turn()

        found = figures(beat.metrics)
        assert found["i3tasks_passes_total"] == 1
        assert found["i3tasks_passes_failed_total"] == 0
        assert found["i3tasks_pass_seconds_sum"] > 0

    def test_counts_a_pass_that_failed(self, monkeypatch):
        def fail(**_):
            raise ValueError("no luck")

        monkeypatch.setattr(beating, "maintain", fail)
        beat = Beat()
        beat.turn()

        assert beat.fails() == "the last pass failed: ValueError"
        assert figures(beat.metrics)["i3tasks_passes_failed_total"] == 1

    def test_cleans_up_once_a_minute(self, i3tasks):
        i3tasks(autoclean_older_than=timedelta(days=1))
        beat = Beat()
        with CaptureQueriesContext(connection) as queries:
            beat.turn()
            beat.turn()
        assert sum("scheduletick" in query["sql"] for query in queries) == 1


class TestASidecar:
    @pytest.fixture
    def hanging(self, monkeypatch):
        """A beat whose pass hangs until the test ends, with its sidecar's port."""
        end, is_in = threading.Event(), threading.Event()

        def hang(**_):
            is_in.set()
            end.wait(60)

        monkeypatch.setattr(beating, "maintain", hang)
        monkeypatch.setattr(beating, "HANGING_AFTER", 1.0)
        beat = Beat()
        port = serve_health(0, "PORT", is_live=beat.hangs, metrics=beat.metrics)
        loop = threading.Thread(target=beat.turn)
        loop.start()
        assert is_in.wait(10)
        yield beat, port
        end.set()
        loop.join(10)

    def test_of_a_beat_that_hangs_says_so_until_a_pass_ends(self, hanging):
        beat, port = hanging
        assert processes.get(port, "/health/live") == (200, {"status": "ok", "problems": []})

        processes.wait_until(lambda: processes.get(port, "/health/live")[0] == 503, 10)
        (problem,) = processes.get(port, "/health/live")[1]["problems"]
        assert re.fullmatch(r"no pass has ended for \d s", problem)

        beat._turned_at = time.monotonic()
        assert processes.get(port, "/health/live")[0] == 200

    def test_notices_a_hanging_beat_within_half_a_minute(self):
        assert beating.HANGING_AFTER + beating.PERIOD < 30

    def test_serves_the_figures_as_text(self, monkeypatch):
        told = Metrics()
        told.passed(None, 1.0)
        port = serve_health(0, "PORT", is_live=lambda: None, metrics=told)
        peer = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        peer.request("GET", "/metrics")
        response = peer.getresponse()

        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"\ni3tasks_passes_total 1.0\n" in response.read()
        peer.close()
        assert processes.get(port, "/metrics", method="POST")[0] == 405

    def test_on_a_port_that_is_taken_names_the_variable(self):
        port = serve_health(0, "PORT", is_live=lambda: None, metrics=Metrics())

        with pytest.raises(CannotStart, match=f"port {port}: .*; set I3TASKS_HEALTH_PORT to a free one"):
            serve_health(port, "I3TASKS_HEALTH_PORT", is_live=lambda: None, metrics=Metrics())


class TestASideBeat:
    @pytest.fixture(autouse=True)
    def often(self, monkeypatch):
        monkeypatch.setattr(SideBeat, "PERIODS", (0.01, 0.02))

    @pytest.fixture
    def passes(self, monkeypatch):
        """When passes were made; the first one fails."""
        made = []

        def count(**_):
            made.append(time.monotonic())
            if len(made) == 1:
                raise ValueError("no luck")
            return Pass(fired_count=0, published_count=0, rescued_count=0, cleaned_count=0)

        monkeypatch.setattr(beating, "maintain", count)
        return made

    def test_goes_on_after_a_pass_that_failed_until_it_is_told_to_stop(self, passes, caplog):
        beat = SideBeat()
        beat.start()
        processes.wait_until(lambda: len(passes) > 2, 10)
        beat.stop()
        assert beat.ends(10)

        assert not beat._thread.is_alive()
        assert "pass_failed" in caplog.text
        assert figures(beat.metrics)["i3tasks_passes_total"] == len(passes)

    def test_repairs_what_was_left_behind(self):
        handle = tasks.nothing.delay()
        store.claim([messages.envelope_of(handle)], lease=timedelta(seconds=-1), worker="w")
        beat = SideBeat()
        beat.start()
        processes.wait_until(lambda: messages.states(handle) == ["lost", "pending"], 10)
        beat.stop()
        assert beat.ends(10)


def test_an_idle_process_asks_the_database_less_than_once_a_second(i3tasks):
    i3tasks(autoclean_older_than=timedelta(days=30))
    beat = SideBeat()
    beat.turn()  # declares the schedules, and cleans up

    beat._rescued_at = float("-inf")
    with CaptureQueriesContext(connection) as queries:
        beat.turn()

    # With BEGIN and COMMIT, and as if each pass looked for lost tries.
    assert len(queries) / (sum(SideBeat.PERIODS) / 2) <= 1.0, [query["sql"] for query in queries]
