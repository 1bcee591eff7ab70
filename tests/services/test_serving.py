"""What the services answer over HTTP, and what they say when they cannot start."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import databases
import processes

MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def run(environment, *command, python_code=None):
    start = ["-c", python_code] if python_code else ["-m"]
    return subprocess.run(
        [sys.executable, *start, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_receiver_serves_its_routes_and_nothing_of_the_project(embedded_services):
    embedded_services.receiver()
    port = embedded_services.port

    assert processes.get(port, "/health/live")[0] == 200
    assert processes.get(port, "/health/ready") == (200, {"status": "ok", "problems": []})
    status, found = processes.get(port, "/i3/tasks-health/")
    assert (status, found["status"]) == (200, "ok")
    assert processes.get(port, "/i3/tasks-push/")[0] == 405
    assert processes.get(port, "/i3/tasks-push/", method="POST")[0] == 400
    assert processes.get(port, "/i3/tasks-beat/", method="POST")[0] == 200
    assert processes.get(port, "/admin/")[0] == 404
    assert processes.get(port, "/")[0] == 404


def test_the_receiver_serves_under_the_prefix_of_its_push_endpoint(embedded_services):
    endpoint = f"http://127.0.0.1:{embedded_services.port}/some/where/tasks-push/"
    embedded_services.receiver(TEST_PUSH_ENDPOINT=endpoint)
    port = embedded_services.port

    assert processes.get(port, "/some/where/tasks-push/")[0] == 405
    assert processes.get(port, "/some/where/tasks-health/")[0] == 200
    assert processes.get(port, "/i3/tasks-push/")[0] == 404


def test_the_beats_sidecar_tells_how_it_is(embedded_services):
    beat = embedded_services.beat()
    port = int(re.search(r"health_port=(\d+)", beat.output).group(1))

    assert processes.get(port, "/health/live")[0] == 200
    assert processes.get(port, "/health/ready")[0] == 200
    assert processes.get(port, "/i3/tasks-health/")[1]["status"] == "ok"
    assert processes.get(port, "/i3/tasks-push/")[0] == 404


def test_the_beat_says_when_its_port_is_taken(embedded_services):
    first = embedded_services.beat()
    port = re.search(r"health_port=(\d+)", first.output).group(1)

    done = run(embedded_services.environment | {"PORT": port}, "i3tasks_beat")
    assert done.returncode == 1
    assert f"i3tasks-beat: the health sidecar cannot listen on port {port}" in done.stderr


@pytest.mark.parametrize("module", ["i3tasks_worker", "i3tasks_receiver", "i3tasks_beat"])
class TestAServiceThatCannotStart:
    """It says in one line on stderr what is missing, and exits with 1."""

    def one_line(self, module, environment):
        arguments = ["--queue=heavy"] if module == "i3tasks_worker" else []
        done = run({"PATH": "", **environment}, module, *arguments)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith(module.replace("_", "-") + ": ")
        return done.stderr

    def test_without_a_settings_module(self, module):
        assert "DJANGO_SETTINGS_MODULE is not set: write" in self.one_line(module, {})

    def test_with_a_settings_module_that_is_not_there(self, module):
        assert "No module named 'nowhere'" in self.one_line(
            module, {"DJANGO_SETTINGS_MODULE": "nowhere.settings"}
        )

    def test_with_wrong_settings(self, module, sqlite_session):
        environment = databases.environment(sqlite_session, TEST_PUBSUB="nowhere", TEST_NAMESPACE="9")
        line = self.one_line(module, environment)
        assert "PUBSUB_CONFIG['HOST'] is 'nowhere'" in line
        assert "I3TASKS.namespace is '9'" in line

    def test_without_tables(self, module, sqlite_session, tmp_path):
        environment = databases.environment(sqlite_session, TEST_SQLITE=str(tmp_path / "empty.sqlite3"))
        assert "run python manage.py migrate" in self.one_line(module, environment)

    def test_with_a_log_level_that_is_none(self, module, sqlite_session):
        environment = databases.environment(sqlite_session, I3TASKS_LOG_LEVEL="loud")
        assert "I3TASKS_LOG_LEVEL is 'LOUD': write DEBUG" in self.one_line(module, environment)


class TestAWorker:
    @pytest.mark.parametrize(
        ("queue", "message"),
        [
            ("nowhere", "unknown queue 'nowhere': write one of 'default', 'heavy'"),
            ("default", "queue 'default' is a PushQueue"),
        ],
    )
    def test_asked_for_a_queue_it_cannot_work_on_says_so(self, sqlite_session, queue, message):
        environment = databases.environment(sqlite_session)
        service = run(environment, "i3tasks_worker", f"--queue={queue}")
        command = run(environment, "i3tasks_worker", f"--queue={queue}", python_code=MANAGE)

        for done in (service, command):
            assert done.returncode != 0
            assert done.stderr.count("\n") == 1, done.stderr
            assert message in done.stderr

    def test_needs_a_queue(self, sqlite_session):
        done = run(databases.environment(sqlite_session), "i3tasks_worker")
        assert done.returncode == 1
        assert done.stderr == "i3tasks-worker: no queue is named: write --queue=NAME or set I3TASKS_QUEUE\n"

    def test_starts_without_its_pubsub_and_without_its_database(self, sqlite_session):
        environment = databases.environment(sqlite_session, TEST_POSTGRES_PORT="1")
        worker = processes.Process("i3tasks_worker", "--queue=heavy", environment=environment)
        try:
            worker.says("service_started")
            worker.says("pull_failed")
        finally:
            worker.end()
