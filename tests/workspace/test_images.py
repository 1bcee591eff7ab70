"""What is in the images, and how each service behaves in its container."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import podman
import pytest
import readme
from django.conf import settings
from packaging.markers import default_environment
from packaging.requirements import Requirement

import databases
import messages
import processes
from i3tasks_core.states import ExecutionState
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from i3tasks_django.publishing import declare
from i3tasks_django.types import PushQueue
from ports import free_port
from project import tasks

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

SERVICES = ("receiver", "worker", "beat")
MOST_MB = 260
MOST_SECONDS = 3.0
PROJECT = readme.ROOT / "tests" / "project"
INSTALLED = """
import importlib.metadata, json, sys
folders = [path for path in sys.path if path.startswith("/opt/i3tasks")]
found = importlib.metadata.distributions(path=folders)
print(json.dumps([[each.name.lower().replace("_", "-"), each.version] for each in found]))
"""


@pytest.fixture
def database(postgres_session: databases.Database) -> Iterator[databases.Database]:
    """Containers share a server, not a file."""
    with databases.current(postgres_session):
        yield postgres_session
        databases.clear()


class Services(processes.Stack):
    """The services of the test project, each in a container: its code is mounted on the service's image."""

    def __init__(self, machine: podman.Machine, database: databases.Database, exits: ExitStack) -> None:
        super().__init__(database)
        self._machine, self._exits = machine, exits
        self.folder = Path(tempfile.mkdtemp(prefix="i3tasks-notes-"))
        self.folder.chmod(0o777)  # the container's user is nobody here
        exits.callback(shutil.rmtree, self.folder)
        mine = ("TEST_", "I3TASKS_", "DJANGO_")
        self._own = {name: value for name, value in self.environment.items() if name.startswith(mine)}
        self._volumes = (f"{PROJECT}:/app/project:ro", f"{self.folder}:{self.folder}")

    def container(self, service: str, *, port: int | None = None, **environment: str) -> podman.Container:
        """A service, ready; on a port of its own unless one is given."""
        port = port or (self.port if service == "receiver" else free_port())
        variable = "I3TASKS_HEALTH_PORT" if service == "worker" else "PORT"
        made = podman.Container(
            self._machine, f"i3tasks-{service}", port=port, volumes=self._volumes,
            environment=self._own | {variable: str(port), "I3TASKS_QUEUE": "heavy"} | environment,
        )  # fmt: skip
        self._exits.callback(made.end)
        return made

    def refused(self, service: str, **environment: str) -> tuple[int, str]:
        """The exit code and the words of a service that will not start."""
        options = podman.confined(self._own | {"PORT": str(free_port())} | environment, self._volumes)
        done = self._machine.result("podman", "run", "--rm", *options, f"i3tasks-{service}", seconds=60)
        # podman's own complaint about a machine without systemd is not the service's.
        said = [line for line in done.stderr.splitlines() if "systemd" not in line]
        assert done.stdout == ""
        return done.returncode, "\n".join(said)


@pytest.fixture
def services(images, database, embedded_pubsub, override) -> Iterator[Services]:
    with ExitStack() as exits:
        made = Services(images, database, exits)
        push = PushQueue("default", "default", made.push_endpoint)
        override(I3TASKS=replace(settings.I3TASKS, default_queue=push))
        declare()
        yield made


def inside(machine: podman.Machine, image: str, script: str) -> str:
    """What a script writes that runs in an image instead of its service."""
    return machine.run("podman", "run", "--rm", *podman.confined({}), image, "python3", "-c", script)


@pytest.mark.parametrize("service", SERVICES)
class TestAnImage:
    def test_is_small(self, images, service, capsys):
        sizes = {name: podman.size_mb(images, f"{name}-{service}") for name in ("i3tasks", "example")}
        with capsys.disabled():
            print(f"\n{service}: " + ", ".join(f"{name} {size} MB" for name, size in sizes.items()))
        assert max(sizes.values()) <= MOST_MB

    def test_holds_what_the_lock_names_for_this_service_and_nothing_else(self, images, service):
        installed = {tuple(each) for each in json.loads(inside(images, f"i3tasks-{service}", INSTALLED))}
        locked = images.run(
            "uv", "export", "--quiet", "--locked", "--no-dev", "--no-hashes", "--no-annotate", "--no-header",
            "--no-emit-workspace", "--package", f"i3tasks-{service}", "--extra", "postgres",
        )  # fmt: skip
        wanted = [Requirement(line) for line in locked.splitlines()]
        python = {**default_environment(), "python_version": "3.11", "python_full_version": "3.11.2"}
        ours = {(f"i3tasks-{name}", "0.1.0") for name in ("core", "django", service)}

        assert installed == ours | {
            (each.name, str(each.specifier).removeprefix("=="))
            for each in wanted
            if each.marker is None or each.marker.evaluate(python)
        }
        names = {name for name, _ in installed}
        assert ("gunicorn" in names) == (service == "receiver")
        assert not names & {"pytest", "i3tasks-emulator", "uv", "pip", "mypy"}

    def test_runs_as_nobody_who_can_write_or_build_nothing(self, images, service):
        script = """
import os, shutil, tempfile
assert (os.getuid(), os.getgid()) == (10001, 10001)
assert [tool for tool in ("uv", "gcc", "cc", "make", "git") if shutil.which(tool)] == []
for folder in ("/", "/app", "/opt/i3tasks", "/etc", "/var/tmp"):
    try:
        open(os.path.join(folder, "x"), "w")
    except OSError:
        continue
    raise SystemExit(f"{folder} can be written")
tempfile.TemporaryFile()
assert not os.path.exists("/src")
"""
        inside(images, f"i3tasks-{service}", script)

    def test_keeps_nothing_of_the_machine_it_was_built_on(self, images, service):
        for name in ("i3tasks", "example"):
            (found,) = json.loads(images.run("podman", "image", "inspect", f"{name}-{service}"))
            assert found["Config"]["Cmd"] == [f"i3tasks-{service}"]
            assert found["Config"]["User"] == "10001:10001"
            names = {each.partition("=")[0] for each in found["Config"]["Env"]}
            port = "I3TASKS_HEALTH_PORT" if service == "worker" else "PORT"
            assert names - {"LANG"} == {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", port}
        read = "print(open('/etc/ssl/certs/ca-certificates.crt').read())"
        assert inside(images, f"example-{service}", read) == inside(images, podman.PYTHON, read)

    def test_is_ready_soon_healthy_and_compiled(self, services, service, capsys):
        starts = []
        for _ in range(3):
            container = services.container(service)
            starts.append(container.cold_start)
            assert container.is_healthy()
            container.signal("TERM")
            assert container.exit_code() == 0
            assert not container.is_healthy()
        with capsys.disabled():
            print(f"\n{service}: cold start to ready {', '.join(f'{each:.1f}' for each in starts)} s")
        assert min(starts) <= MOST_SECONDS


@pytest.mark.parametrize(
    ("service", "variable", "value", "expected"),
    [
        ("receiver", "PORT", "http", "PORT is 'http': write a whole number from 0 to 65535"),
        ("receiver", "I3TASKS_THREADS", "0", "I3TASKS_THREADS is '0': write a whole number from 1"),
        ("receiver", "I3TASKS_PROCESSES", "-1", "I3TASKS_PROCESSES is '-1': write a whole number from 1"),
        ("receiver", "I3TASKS_GRACE_SECONDS", "8s", "I3TASKS_GRACE_SECONDS is '8s': write a whole number"),
        ("worker", "I3TASKS_QUEUE", "nowhere", "unknown queue 'nowhere': write one of 'default', 'heavy'"),
        ("worker", "I3TASKS_HEALTH_PORT", "99999", "I3TASKS_HEALTH_PORT is '99999': write a whole number"),
        ("worker", "I3TASKS_CONCURRENCY", "many", "I3TASKS_CONCURRENCY is 'many': write a whole number"),
        ("beat", "PORT", "99999", "PORT is '99999': write a whole number from 0 to 65535"),
        ("beat", "I3TASKS_GRACE_SECONDS", "-1", "I3TASKS_GRACE_SECONDS is '-1': write a whole number"),
        ("beat", "I3TASKS_LOG_LEVEL", "loud", "I3TASKS_LOG_LEVEL is 'LOUD': write DEBUG"),
        ("beat", "DJANGO_SETTINGS_MODULE", "", "DJANGO_SETTINGS_MODULE is not set: write"),
    ],
)
def test_a_bad_value_is_one_line_and_an_exit_code(services, service, variable, value, expected):
    code, said = services.refused(service, **{"I3TASKS_QUEUE": "heavy", variable: value})

    assert code == 1
    assert said.startswith(f"i3tasks-{service}: {expected}"), said
    assert "\n" not in said


def stopped(container: podman.Container) -> float:
    """Tell it to stop, and take the time until it has."""
    began = time.monotonic()
    container.signal("TERM")
    assert container.exit_code(20) == 0, container.output
    return time.monotonic() - began


class TestSigterm:
    def test_the_receiver_answers_what_runs_and_refuses_the_rest(self, services):
        receiver = services.container("receiver")
        notes = services.folder / "file"
        handle = tasks.write_slowly.using(queue_name="default").delay(str(notes), "run", 3.0)
        open_connection = http.client.HTTPConnection("127.0.0.1", services.port, timeout=10)
        open_connection.request("GET", "/health/live")
        assert open_connection.getresponse().read()
        processes.wait_until(lambda: processes.lines(notes), 20, "the start")

        receiver.signal("TERM")
        began = time.monotonic()
        open_connection.request("POST", "/i3/tasks-push/", b"{}", {"Content-Type": "application/json"})
        assert open_connection.getresponse().status == 503
        assert receiver.exit_code(20) == 0
        assert time.monotonic() - began < 9
        assert handle.refresh().state is ExecutionState.SUCCESS
        assert messages.states(handle) == ["success"]

    def test_the_worker_ends_what_runs_and_hands_back_the_rest(self, services):
        worker = services.container("worker", I3TASKS_CONCURRENCY="1")
        notes = services.folder / "file"
        handles = [tasks.write_slowly.delay(str(notes), str(n), 1.0) for n in range(5)]
        processes.wait_until(lambda: processes.lines(notes), 20, "the start")

        assert stopped(worker) < 9
        begun = [line for line in processes.lines(notes) if line.startswith("start")]
        ended = [line for line in processes.lines(notes) if line.startswith("end")]
        assert len(begun) == len(ended) < 5
        assert set(TaskExecutionTry.objects.values_list("state", flat=True)) == {"success", "pending"}

        services.container("worker")
        services.container("beat")
        for handle in handles:
            handle.result(timeout=60)
            assert messages.states(handle) == ["success"]

    def test_the_worker_gives_up_what_outlasts_the_grace(self, services):
        worker = services.container("worker")
        notes = services.folder / "file"
        handle = tasks.write_slowly.delay(str(notes), "run", 60)
        processes.wait_until(lambda: processes.lines(notes), 20, "the start")

        assert 7 < stopped(worker) < 9.5
        assert messages.states(handle) == ["running"]

    def test_the_beat_ends_its_pass(self, services):
        beat = services.container("beat")

        assert stopped(beat) < 9
        assert "service_stopped" in beat.output
        assert "pass_failed" not in beat.output


def test_three_workers_drain_a_queue_faster_than_one(services, capsys):
    def seconds() -> float:
        handles = [tasks.write_slowly.delay(str(services.folder / "file"), str(n), 0.5) for n in range(60)]
        began = time.monotonic()
        for handle in handles:
            handle.result(timeout=120)
        return time.monotonic() - began

    # Tasks that wait: what is shown is that workers share a queue, not how many cores there are.
    services.container("worker", I3TASKS_CONCURRENCY="2")
    alone = seconds()
    for _ in range(2):
        services.container("worker", I3TASKS_CONCURRENCY="2")
    together = seconds()

    with capsys.disabled():
        print(f"\n60 tasks of 0.5 s, two at a time: one worker {alone:.1f} s, three {together:.1f} s")
    assert alone / together > 2


def test_a_rolling_restart_under_load_loses_nothing(services, capsys):
    started: dict[str, Callable[[], podman.Container]] = {
        service: lambda service=service: services.container(service)  # type: ignore[misc]
        for service in SERVICES
    }
    running = {service: start() for service, start in started.items()}
    notes = str(services.folder / "file")
    for number in range(250):
        tasks.write_slowly.using(queue_name="default").delay(notes, f"pushed {number}", 1.0)
        tasks.write_slowly.delay(notes, f"pulled {number}", 0.8)
    took = []
    for service in (*SERVICES, *SERVICES):
        took.append(stopped(running[service]))
        running[service].end()
        running[service] = started[service]()
    restarted_at = time.time()

    processes.wait_until(lambda: not TaskExecution.objects.filter(state="pending").exists(), 240, "the drain")
    last = TaskExecutionTry.objects.latest("finished_at").finished_at
    with capsys.disabled():
        print(f"\n500 tasks over six restarts; to stop took {', '.join(f'{each:.1f}' for each in took)} s")
    assert last is not None
    assert last.timestamp() > restarted_at, "the load was over before the restarts were"
    assert max(took) < 9
    assert set(TaskExecution.objects.values_list("state", flat=True)) == {"success"}
    assert TaskExecutionTry.objects.filter(state="success").count() == TaskExecutionTry.objects.count() == 500
    assert len(processes.lines(Path(notes))) == 2 * 500
