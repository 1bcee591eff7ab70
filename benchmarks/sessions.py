"""One peer, ready to be measured: a fresh database, its servers, and a process of its project for calls."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import calling, notes
from benchmarks.environments import Environments
from benchmarks.peers.peer import Peer
from benchmarks.programs import ROOT, Program, free_port, running
from benchmarks.servers import Database, started

PUSH_SUBSCRIPTION = "bench.default.default"
"""That of the default queue, with us as with the predecessor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the sessions of one run share."""

    database: Database
    environments: Environments
    pubsub_kind: str


class Session:
    """One peer's surroundings.

    Attributes:
        notes: the starts of its tasks.
        look: asks its database for a number.
    """

    look: Callable[[str], int]

    def __init__(self, peer: Peer, python: str, environment: dict[str, str], folder: Path) -> None:
        self.peer = peer
        self.notes = notes.Notes(folder / "notes")
        self.environment = environment
        self._python = python

    @contextmanager
    def calling(self) -> Iterator[None]:
        """The process that makes the calls."""
        more = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with running(
            self._python, "-m", "benchmarks.caller", environment=self.environment, **more
        ) as self._caller:
            yield

    def ask(self, function: str, /, **arguments: Any) -> Any:
        """What a function of the peer's project answers.

        Raises:
            RuntimeError: it failed; shows what it wrote.
        """
        pipes = self._caller.process
        assert pipes.stdin
        assert pipes.stdout
        try:
            pipes.stdin.write(json.dumps({"function": function, "arguments": arguments}) + "\n")
            pipes.stdin.flush()
            answer = pipes.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            pipes.wait(10)
            self._caller.check()
        return json.loads(answer)

    def call(self, function: str, /, **arguments: Any) -> Any:
        return self.ask(f"{calling.__name__}.{function}", **arguments)

    @contextmanager
    def program(self, *arguments: str, **environment: str) -> Iterator[Program]:
        with running(self._python, "-m", *arguments, environment=self.environment | environment) as program:
            yield program

    def finished(self) -> int:
        """How many tasks have ended well."""
        return self.look(self.peer.finished)

    @contextmanager
    def service(self, *arguments: str) -> Iterator[Program]:
        """One of our services, up and ready."""
        with self.program(*arguments, PORT=str(free_port()), I3TASKS_LOG_LEVEL="INFO") as program:
            program.wait_for(lambda: "service_started" in program.output)
            yield program

    @contextmanager
    def receiver(self) -> Iterator[Program]:
        """What serves the push endpoint; the command's ``{port}`` is its port."""
        command = [word.format(port=self.port) for word in self.peer.receiver]
        with self.program(*command, PORT=str(self.port)) as program:
            yield program

    def wait_until_started(self, program: Program, count: int) -> None:
        program.wait_for(lambda: self.notes.count >= count, seconds=1800, pause=0.01)

    def wait_until_finished(self, program: Program, started: int, finished: int) -> float:
        """Wait for so many starts and then so many ends; gives the moment, as :func:`time.time` does."""
        # The ends are asked for last: looking at tables all the time would be a load on what is measured.
        self.wait_until_started(program, started)
        program.wait_for(lambda: self.finished() >= finished, seconds=60, pause=0.005)
        return time.time()

    @property
    def port(self) -> int:
        """Where a receiver listens."""
        return int(self.environment["BENCH_PUSH_PORT"])

    @property
    def push_endpoint(self) -> str:
        return self.environment["BENCH_PUSH_ENDPOINT"]

    @property
    def pubsub(self) -> str:
        """The Pub/Sub's address."""
        return self.environment["BENCH_PUBSUB"]


@contextmanager
def session(peer: Peer, machine: Machine) -> Iterator[Session]:
    """Its tables made and empty, its servers up, nothing called yet."""
    python = machine.environments.python(peer)
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="i3tasks-benchmark-")))
        served = exits.enter_context(started(peer.needs, machine.pubsub_kind))
        base = _environment(peer, folder) | served
        if peer.is_sqlite:
            made = exits.enter_context(_on_sqlite(Session(peer, python, base, folder), folder / "db.sqlite3"))
        else:
            made = exits.enter_context(_on_postgres(Session(peer, python, base, folder), machine.database))
        exits.enter_context(made.calling())
        made.call("prepare")
        yield made


@contextmanager
def _on_sqlite(session: Session, path: Path) -> Iterator[Session]:
    session.environment["BENCH_SQLITE"] = str(path)
    with session.calling():
        session.call("migrate")
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
        session.look = lambda query: int(connection.execute(query).fetchone()[0])
        yield session


@contextmanager
def _on_postgres(session: Session, database: Database) -> Iterator[Session]:
    """Migrations run once for each peer; every session has a copy of what they made."""
    name = session.peer.project.rpartition(".")[2]
    template = f"{name}_migrated"
    session.environment |= {"BENCH_POSTGRES_PORT": str(database.port), "BENCH_POSTGRES_NAME": template}
    if not database.has(template):
        database.create(template)
        with session.calling():
            session.call("migrate")
    database.create(name, template)
    session.environment["BENCH_POSTGRES_NAME"] = name
    with database.looking_at(name) as session.look:
        yield session
    database.drop(name)


def _environment(peer: Peer, folder: Path) -> dict[str, str]:
    port = free_port()
    ours = ("BENCH_", "I3TASKS_", "DJANGO_", "TEST_", "PUBSUB_", "GUNICORN_", "CELERY_", "PROCRASTINATE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": f"{peer.project}.settings",
        "I3TASKS_LOG_LEVEL": "WARNING",
        calling.TASKS: f"{peer.project}.tasks",
        notes.PATH: str(folder / "notes"),
        "BENCH_PUSH_PORT": str(port),
        "BENCH_PUSH_ENDPOINT": f"http://127.0.0.1:{port}/i3/tasks-push/",
    }
