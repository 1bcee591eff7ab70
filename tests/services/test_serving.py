"""What the services answer over HTTP, and what they say when they cannot start."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection
from django.test import override_settings

import databases
import processes
from i3tasks_core import events
from i3tasks_django.models import TaskExecutionTry
from project import tasks

SERVICES = ["i3tasks_worker", "i3tasks_receiver", "i3tasks_beat"]
WITH_A_PORT = ["i3tasks_receiver", "i3tasks_beat"]


@pytest.fixture
def database(sqlite_session: databases.Database) -> Iterator[databases.Database]:
    """One database is enough here: what is served and said does not depend on it."""
    with databases.current(sqlite_session):
        yield sqlite_session
        databases.clear()


def run(environment, *command, folder=None):
    return subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def refused(monkeypatch, capsys, sqlite_session):
    """Start a service, or a command of manage.py, that will not go on; what it says.

    In this very process: a new one would say the same a second later. Each service also refuses in a process
    of its own below.
    """
    for name in [name for name in os.environ if name.startswith("I3TASKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in (sys, threading):
        monkeypatch.setattr(module, "excepthook", module.excepthook)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    level = events.logger.level

    def start(module, *arguments, database=sqlite_session, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        with databases.current(database), pytest.raises(SystemExit) as left:
            if module == "manage.py":
                execute_from_command_line()
            else:
                importlib.import_module(f"{module}.__main__").main()
        written = capsys.readouterr()
        assert (left.value.code, written.out, written.err.count("\n")) == (1, "", 1), written
        return written.err

    yield start
    events.logger.setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="class")
def served(sqlite_session, embedded_target):
    """The ports of a receiver and a beat that all tests of a class ask."""
    pubsub = {"EMULATOR": True, "HOST": embedded_target, "PROJECT_ID": "served"}
    with override_settings(PUBSUB_CONFIG=pubsub), processes.stack(sqlite_session) as services:
        services.receiver()
        yield services.port, port_of(services.beat())


class TestServing:
    def test_the_receiver_serves_its_routes_and_nothing_of_the_project(self, served):
        port, _ = served

        assert processes.get(port, "/health/live")[0] == 200
        assert processes.get(port, "/health/ready") == (200, {"status": "ok", "problems": []})
        status, found = processes.get(port, "/i3/tasks-health/")
        assert (status, found["status"]) == (200, "ok")
        assert processes.get(port, "/i3/tasks-push/")[0] == 405
        assert processes.get(port, "/i3/tasks-push/", method="POST")[0] == 400
        assert processes.get(port, "/i3/tasks-beat/", method="POST")[0] == 200
        assert processes.get(port, "/admin/")[0] == 404
        assert processes.get(port, "/")[0] == 404

    def test_the_beats_sidecar_tells_how_it_is(self, served):
        _, port = served

        assert processes.get(port, "/health/live")[0] == 200
        assert processes.get(port, "/health/ready")[0] == 200
        assert processes.get(port, "/i3/tasks-health/")[1]["status"] == "ok"
        assert processes.get(port, "/i3/tasks-push/")[0] == 404

    def test_the_beats_figures_count_its_passes(self, served):
        _, port = served

        def passes():
            return float(re.search(r"\ni3tasks_passes_total (\S+)\n", figures()).group(1))

        def figures():
            return processes.get(port, "/metrics")[1].decode()

        before = passes()
        processes.wait_until(lambda: passes() >= before + 2, 20)
        assert "\ni3tasks_passes_failed_total 0.0\n" in figures()

    def test_head_is_answered_without_a_body(self, served):
        paths = ("/health/live", "/health/ready", "/i3/tasks-health/", "/nowhere")
        for port, path in itertools.product(served, paths):
            full_head, full_body = ask(port, f"GET {path} HTTP/1.1")
            head, body = ask(port, f"HEAD {path} HTTP/1.1")
            length = re.search(r"content-length: (\d+)", head).group(1)
            assert body == b""
            assert head.split()[1] == full_head.split()[1]
            # The health page tells the time, with more or fewer digits.
            assert abs(int(length) - len(full_body)) < 8


def test_the_receiver_tells_of_one_call_whoever_has_its_address(embedded_services):
    embedded_services.receiver()
    port, handle = embedded_services.port, tasks.add_heavy.delay(1, 2)

    assert processes.get(port, handle.status_url())[1]["id"] == str(handle.id)
    assert processes.get(port, f"/i3/tasks-status/{handle.id}/")[0] == 404
    assert processes.get(port, "/i3/tasks-status/x/")[0] == 404


def test_the_receiver_serves_under_the_prefix_of_its_push_endpoint(embedded_services):
    endpoint = f"http://127.0.0.1:{embedded_services.port}/some/where/tasks-push/"
    embedded_services.receiver(TEST_PUSH_ENDPOINT=endpoint)
    port = embedded_services.port

    assert processes.get(port, "/some/where/tasks-push/")[0] == 405
    assert processes.get(port, "/some/where/tasks-health/")[0] == 200
    assert processes.get(port, "/i3/tasks-push/")[0] == 404


def ask(port, request):
    """All that comes back on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(f"{request}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: peer.recv(4096), b"")).partition(b"\r\n\r\n")
    return head.decode().lower(), body


def test_all_that_a_receiver_writes_is_json_and_ends_with_its_stop(embedded_services):
    receiver = embedded_services.receiver()
    ask(embedded_services.port, "NO SENSE")
    receiver.says("gunicorn.error")
    receiver.signal(signal.SIGTERM)

    assert receiver.exit_code() == 0
    lines = [json.loads(line) for line in receiver.output.splitlines()]
    messages = [line["message"] for line in lines]
    assert messages[-1] == "service_stopped"
    assert messages.count("service_started") == messages.count("service_stopped") == 1
    assert any(line["logger"] == "gunicorn.error" and line["severity"] == "WARNING" for line in lines)


def port_of(beat):
    return int(re.search(r"health_port=(\d+)", beat.output).group(1))


@contextmanager
def a_table_away(name):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO {name}_away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {name}_away RENAME TO {name}")


def test_the_beat_is_not_ready_while_its_passes_fail(embedded_services):
    beat = embedded_services.beat()
    port = port_of(beat)
    processes.wait_until(lambda: processes.get(port, "/health/ready")[0] == 200, 20)

    with a_table_away(TaskExecutionTry._meta.db_table):
        processes.wait_until(lambda: processes.get(port, "/health/ready")[0] == 503, 20)
        (problem,) = processes.get(port, "/health/ready")[1]["problems"]
        assert re.fullmatch(r"the last pass failed: (OperationalError|ProgrammingError)", problem)
        assert processes.get(port, "/health/live")[0] == 200

    processes.wait_until(lambda: processes.get(port, "/health/ready")[0] == 200, 20)


@pytest.mark.parametrize("module", WITH_A_PORT)
class TestAPort:
    def test_that_is_taken_is_named_in_one_line(self, sqlite_session, module):
        with socket.create_server(("0.0.0.0", 0)) as other:
            port = str(other.getsockname()[1])
            done = run(databases.environment(sqlite_session, PORT=port), module)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1, done.stderr
        assert f"cannot listen on port {port}: " in done.stderr
        assert done.stderr.endswith("; set PORT to a free one\n")

    @pytest.mark.parametrize("port", ["99999", "http"])
    def test_that_is_none_is_named_in_one_line(self, refused, module, port):
        expected = f"PORT is {port!r}: write a whole number from 0 to 65535"
        assert refused(module, PORT=port) == f"{module.replace('_', '-')}: {expected}\n"

    def test_on_which_old_connections_linger_is_free(self, sqlite_session, module):
        with socket.create_server(("127.0.0.1", 0)) as predecessor:
            port = predecessor.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as client:
                predecessor.accept()[0].close()  # who closes first is left in TIME_WAIT
                client.recv(1)

        service = processes.Process(module, environment=databases.environment(sqlite_session, PORT=str(port)))
        try:
            service.says("service_started")
        finally:
            service.end()


@pytest.mark.parametrize("module", SERVICES)
class TestOptions:
    def test_help_says_what_is_read_and_starts_nothing(self, module):
        done = run({"PATH": ""}, module, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert "DJANGO_SETTINGS_MODULE" in done.stdout

    def test_an_unknown_one_starts_nothing(self, module):
        done = run({"PATH": ""}, module, "--bogus")
        assert done.returncode == 2
        assert "No such option" in done.stderr


@pytest.mark.parametrize("module", SERVICES)
@pytest.mark.parametrize(("moment", "number"), [("click", signal.SIGINT), ("slow_settings", signal.SIGTERM)])
def test_a_signal_during_the_imports_ends_it_at_once(tmp_path, sqlite_session, module, moment, number):
    # Many short sleeps: Python hears a signal that comes just before a system call when that call is over.
    slow = "import time\nprint('importing', flush=True)\nwhile True: time.sleep(0.1)\n"
    (tmp_path / f"{moment}.py").write_text(slow)
    environment = databases.environment(sqlite_session, DJANGO_SETTINGS_MODULE="slow_settings")
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    service = processes.Process(module, environment=environment)
    try:
        service.says("importing")
        service.signal(number)
        assert service.exit_code() == 128 + number
        assert service.output == "importing\n"
    finally:
        service.end()


def named(database, path):
    return replace(database, settings={**database.settings, "NAME": path})


class TestAServiceThatCannotStart:
    """It says in one line on stderr what is missing, and exits with 1."""

    def one_line(self, module, environment):
        arguments = ["--queue=heavy"] if module == "i3tasks_worker" else []
        done = run({"PATH": "", **environment}, module, *arguments)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith(module.replace("_", "-") + ": ")
        return done.stderr

    @pytest.mark.parametrize("module", SERVICES)
    def test_without_a_settings_module(self, module):
        assert "DJANGO_SETTINGS_MODULE is not set: write" in self.one_line(module, {})

    @pytest.mark.parametrize("module", ["i3tasks_worker"])
    def test_with_a_settings_module_that_is_not_there(self, module):
        assert "No module named 'nowhere'" in self.one_line(
            module, {"DJANGO_SETTINGS_MODULE": "nowhere.settings"}
        )

    @pytest.mark.parametrize("module", SERVICES)
    def test_with_wrong_settings(self, module, refused):
        pubsub = {**settings.PUBSUB_CONFIG, "HOST": "nowhere"}
        with override_settings(PUBSUB_CONFIG=pubsub, I3TASKS=replace(settings.I3TASKS, namespace="9")):
            line = refused(module)
        assert line.startswith(f"{module.replace('_', '-')}: ")
        assert "PUBSUB_CONFIG['HOST'] is 'nowhere'" in line
        assert "I3TASKS.namespace is '9'" in line

    @pytest.mark.parametrize("module", ["i3tasks_worker"])
    def test_without_tables(self, module, sqlite_session, tmp_path):
        environment = databases.environment(sqlite_session, TEST_SQLITE=str(tmp_path / "empty.sqlite3"))
        assert "run python manage.py migrate" in self.one_line(module, environment)

    def test_with_a_log_level_that_is_none(self, refused):
        line = refused("i3tasks_worker", I3TASKS_LOG_LEVEL="loud")
        assert "I3TASKS_LOG_LEVEL is 'LOUD': write DEBUG" in line

    @pytest.mark.parametrize("module", SERVICES)
    def test_with_a_grace_that_is_none(self, module, refused):
        line = refused(module, PORT="0", I3TASKS_QUEUE="heavy", I3TASKS_GRACE_SECONDS="-1")
        expected = "I3TASKS_GRACE_SECONDS is '-1': write a whole number from 0 to 1000000"
        assert line == f"{module.replace('_', '-')}: {expected}\n"

    def test_with_a_database_in_a_folder_that_is_not_there(self, refused, sqlite_session, tmp_path):
        path = str(tmp_path / "nowhere" / "db.sqlite3")
        line = refused("i3tasks_worker", database=named(sqlite_session, path))
        assert f"DATABASES['default']['NAME'] is {path!r}: there is no folder" in line


class TestAMistakeInTheProject:
    """One line names the error and where it was raised."""

    @pytest.fixture
    def one_line(self, tmp_path, sqlite_session):
        """Start the worker in a project with these settings and tasks; what it says."""

        def start(settings, tasks="", command=("i3tasks_worker", "--queue=heavy")):
            (tmp_path / "shop").mkdir()
            (tmp_path / "shop" / "settings.py").write_text(f"from project.settings import *\n{settings}\n")
            (tmp_path / "shop" / "tasks.py").write_text(tasks)
            environment = databases.environment(sqlite_session, DJANGO_SETTINGS_MODULE="shop.settings")
            done = run(environment, *command, folder=tmp_path)
            assert done.returncode == 1, done.stderr
            assert done.stderr.count("\n") == 1, done.stderr
            assert "Traceback" not in done.stdout + done.stderr
            return done.stderr

        return start

    @pytest.mark.parametrize("module", SERVICES)
    def test_a_variable_that_is_not_set(self, one_line, module):
        line = one_line("import os\nURL = os.environ['DATABASE_URL']", command=[module])
        said = "Django cannot be set up: KeyError: 'DATABASE_URL' (shop/settings.py, line 3)"
        assert line == f"{module.replace('_', '-')}: {said}\n"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                "I3TASKS = I3TasksSettings(namespace='x')",
                "TypeError: I3TasksSettings.__init__() missing 1",
            ),
            ("I3TASKS = I3TasksSettings(name_space='x')", "unexpected keyword argument 'name_space'"),
            ("PATHS = [", "SyntaxError: '[' was never closed"),
            ("def f(:", "SyntaxError: invalid syntax"),
            ("undefined", "NameError: name 'undefined' is not defined"),
        ],
    )
    def test_a_wrong_line_of_the_settings(self, one_line, settings, message):
        line = one_line(settings)
        assert line.startswith("i3tasks-worker: Django cannot be set up: ")
        assert message in line
        assert "settings.py, line 2)" in line

    def test_a_wrong_line_of_a_task_module(self, one_line):
        line = one_line("INSTALLED_APPS = [*INSTALLED_APPS, 'shop']", tasks="\n\nundefined")
        assert "NameError: name 'undefined' is not defined (shop/tasks.py, line 3)" in line

    def test_a_log_file_that_cannot_be_written(self, one_line):
        handler = {"class": "logging.FileHandler", "filename": "/nowhere/shop.log"}
        line = one_line(f"LOGGING = {{'version': 1, 'handlers': {{'file': {handler}}}}}")
        assert "ValueError: Unable to configure handler 'file'; caused by FileNotFoundError" in line
        assert "/nowhere/shop.log" in line

    def test_an_unknown_router(self, one_line):
        line = one_line("DATABASE_ROUTERS = ['shop.routers.Nowhere']")
        assert "the project cannot be checked: ModuleNotFoundError: No module named 'shop.routers'" in line

    def test_a_router_that_fails(self, one_line):
        router = "class Router:\n    def db_for_write(self, *args, **hints): return 1 / 0"
        line = one_line(f"{router}\nDATABASE_ROUTERS = ['shop.settings.Router']")
        assert "ZeroDivisionError: division by zero (shop/settings.py, line 3)" in line


def test_a_projects_own_logging_is_kept(tmp_path, sqlite_session):
    (tmp_path / "logging_settings.py").write_text(
        """
from project.settings import *
LOGGING = {
    "version": 1,
    "formatters": {"theirs": {"format": "THEIRS %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "theirs"}},
    "root": {"handlers": ["console"]},
}
"""
    )
    environment = databases.environment(sqlite_session, DJANGO_SETTINGS_MODULE="logging_settings", PORT="0")
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    beat = processes.Process("i3tasks_beat", environment=environment)
    try:
        beat.says("THEIRS i3tasks service_started")
        assert '"message"' not in beat.output
    finally:
        beat.end()


class Blackhole:
    """A Pub/Sub that takes connections and never answers."""

    def __enter__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def __exit__(self, *_):
        self._server.close()


class TestAWorker:
    @pytest.mark.parametrize(
        ("queue", "message"),
        [
            ("nowhere", "unknown queue 'nowhere': write one of 'default', 'heavy'"),
            ("default", "queue 'default' is a PushQueue"),
        ],
    )
    def test_asked_for_a_queue_it_cannot_work_on_says_so(self, refused, queue, message):
        assert message in refused("i3tasks_worker", f"--queue={queue}")
        assert message in refused("manage.py", "i3tasks_worker", f"--queue={queue}")

    def test_needs_a_queue(self, refused):
        message = "no queue is named: write --queue=NAME or set I3TASKS_QUEUE\n"
        assert refused("i3tasks_worker") == f"i3tasks-worker: {message}"
        assert refused("manage.py", "i3tasks_worker") == f"CommandError: {message}"

    def test_starts_without_its_pubsub_and_without_its_database(self, sqlite_session):
        environment = databases.environment(sqlite_session, TEST_POSTGRES_PORT="1")
        worker = processes.Process("i3tasks_worker", "--queue=heavy", environment=environment)
        try:
            worker.says("service_started")
            worker.says("pull_failed")
        finally:
            worker.end()

    def test_declares_its_queue_before_its_first_pull(self, make_stack, embedded_pubsub):
        services = make_stack()  # nobody has declared anything
        worker = services.worker()
        worker.says("tasks.test.heavy.heavy-pull")
        worker.says("tasks.test.default.default")

        assert tasks.add_heavy.delay(1, 2).result(timeout=30) == 3
        assert "pull_failed" not in worker.output
        assert [line for line in worker.output.splitlines() if '"WARNING"' in line] == []

    def test_is_not_kept_from_stopping_by_a_pubsub_that_does_not_answer(self, sqlite_session):
        with Blackhole() as target:
            environment = databases.environment(sqlite_session, TEST_PUBSUB=target)
            worker = processes.Process("i3tasks_worker", "--queue=heavy", environment=environment)
            try:
                worker.says("service_started")
                told_at = time.monotonic()
                worker.signal(signal.SIGTERM)
                assert worker.exit_code() == 0
                assert time.monotonic() - told_at < 7  # less than the grace that running tries get
            finally:
                worker.end()


class TestAWorkersSidecar:
    @pytest.fixture(params=[["--health-port=0"], []], ids=["option", "variable"])
    def worker(self, request, embedded_services):
        variable = {} if request.param else {"I3TASKS_HEALTH_PORT": "0"}
        worker = embedded_services.start("i3tasks_worker", "--queue=heavy", *request.param, **variable)
        worker.says("service_started")
        return worker

    def test_tells_how_it_is_and_what_it_does(self, worker):
        port = port_of(worker)

        assert processes.get(port, "/health/live") == (200, {"status": "ok", "problems": []})
        assert processes.get(port, "/health/ready") == (200, {"status": "ok", "problems": []})
        assert processes.get(port, "/i3/tasks-health/")[1]["status"] == "ok"
        assert tasks.add_heavy.delay(1, 2).result(timeout=30) == 3
        status, figures = processes.get(port, "/metrics")
        assert status == 200
        assert b"\ni3tasks_tries_running 0.0\n" in figures
        worker.signal(signal.SIGTERM)
        assert worker.exit_code() == 0

    def test_is_not_ready_while_pubsub_does_not_answer(self, sqlite_session):
        environment = databases.environment(sqlite_session, I3TASKS_HEALTH_PORT="0")
        worker = processes.Process("i3tasks_worker", "--queue=heavy", environment=environment)
        try:
            worker.says("pull_failed")
            port = port_of(worker)
            assert processes.get(port, "/health/live")[0] == 200
            status, found = processes.get(port, "/health/ready")
            assert status == 503
            assert found["problems"] == ["the last pull failed: PubSubUnavailable"]
        finally:
            worker.end()

    @pytest.mark.parametrize("port", ["99999", "http", "-1"])
    def test_on_a_port_that_is_none_is_named_in_one_line(self, refused, port):
        line = refused("i3tasks_worker", "--queue=heavy", I3TASKS_HEALTH_PORT=port)
        expected = f"I3TASKS_HEALTH_PORT is {port!r}: write a whole number from 0 to 65535"
        assert line == f"i3tasks-worker: {expected}\n"

    @pytest.mark.parametrize("start", [["i3tasks_worker"], ["django", "i3tasks_worker"]], ids=" ".join)
    def test_on_a_port_that_is_taken_is_named_in_one_line(self, sqlite_session, start):
        with socket.create_server(("0.0.0.0", 0)) as other:
            port = other.getsockname()[1]
            environment = databases.environment(sqlite_session)
            done = run(environment, *start, "--queue=heavy", f"--health-port={port}")

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.endswith("; set I3TASKS_HEALTH_PORT to a free one\n")

    @pytest.mark.parametrize("port", ["-1", "99999"])
    def test_the_command_refuses_a_port_that_is_none(self, refused, port):
        line = refused("manage.py", "i3tasks_worker", f"--health-port={port}")
        assert line == f"CommandError: --health-port is {port}: write a whole number from 0 to 65535\n"


def test_a_project_without_a_beat_is_kept_going_by_its_worker(embedded_services):
    worker = embedded_services.worker()

    handle = tasks.add_heavy.using(run_after=timedelta(seconds=1)).delay(1, 2)

    assert handle.result(timeout=40) == 3
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert "pass_failed" not in worker.output
    assert "health_port" not in worker.output  # a sidecar is there only on request


class TestTheCommand:
    """``manage.py i3tasks_worker`` is the same worker."""

    def test_reads_what_the_service_reads(self, sqlite_session):
        environment = databases.environment(
            sqlite_session, I3TASKS_QUEUE="heavy", I3TASKS_CONCURRENCY="3", I3TASKS_LOG_LEVEL="DEBUG"
        )
        worker = processes.Process("django", "i3tasks_worker", environment=environment)
        try:
            line = json.loads(worker.says("service_started"))
            assert line["detail"] == "queue=heavy concurrency=3"
            worker.signal(signal.SIGTERM)
            assert worker.exit_code() == 0
            assert all(json.loads(line) for line in worker.output.splitlines())
        finally:
            worker.end()

    def test_says_what_is_wrong_as_the_service_does(self, refused, sqlite_session):
        empty = {"database": named(sqlite_session, ":memory:")}
        for options, message in (
            ({"I3TASKS_CONCURRENCY": "0"}, "I3TASKS_CONCURRENCY is '0': write a whole number from 1"),
            (empty, "run python manage.py migrate"),
        ):
            service = refused("i3tasks_worker", "--queue=heavy", **options)
            command = refused("manage.py", "i3tasks_worker", "--queue=heavy", **options)

            assert message in service
            assert service.startswith("i3tasks-worker: ")
            assert command == f"CommandError: {service.partition(': ')[2]}"
