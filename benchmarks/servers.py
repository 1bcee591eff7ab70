"""The servers that the peers stand on. Each is started for the run, on a free port, and removed after it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString

import psycopg

import google_emulator
import postgres
from benchmarks.programs import free_port, listens, running

ROLE = "bench"
"""Who the peers log in as; the statements of this role are theirs, not ours who look on."""

_STATEMENTS = "pg_stat_statements"
_SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
_BRACKET = r"^\s*(begin|commit|rollback|savepoint|release|start transaction)\y"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What a peer has asked the server: how often, and how much of it only opens and closes transactions."""

    work: float
    bracket: float

    def per(self, count: float) -> Statements:
        return Statements(work=self.work / count, bracket=self.bracket / count)


class Database:
    """A PostgreSQL as it comes: everything that makes a commit durable is on."""

    def __init__(self, server: postgres.Cluster, *, is_counting: bool) -> None:
        self._is_counting = is_counting
        self.port = server.port
        self._admin = self._connect("postgres")
        self._admin.execute(f"CREATE ROLE {ROLE} LOGIN")
        if is_counting:
            self._admin.execute(f"CREATE EXTENSION {_STATEMENTS}")
        self.settings = {name: self._one(f"SHOW {name}") for name in _SHOWN}

    def create(self, name: str, template: str = "template1") -> None:
        self.drop(name)
        self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER {ROLE}')
        # All begin alike: nobody pays for what the one before has left to write.
        self._admin.execute("CHECKPOINT")

    def has(self, name: str) -> bool:
        found = self._admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return found.fetchone() is not None

    def drop(self, name: str) -> None:
        self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def looking_at(self, name: str) -> Iterator[Callable[[str], int]]:
        """Gives what asks that database for a number; what it asks is not counted."""
        with self._connect(name) as connection:
            yield lambda query: int((connection.execute(query).fetchone() or (0,))[0])

    def count_from_here(self) -> None:
        if self._is_counting:
            self._admin.execute(f"SELECT {_STATEMENTS}_reset()")

    def counted(self) -> Statements | None:
        """The peer's statements since :meth:`count_from_here`, None where the server has no means for it."""
        if not self._is_counting:
            return None
        work, bracket = self._admin.execute(
            f"""
            SELECT coalesce(sum(calls) FILTER (WHERE query !~* %(bracket)s), 0),
                coalesce(sum(calls) FILTER (WHERE query ~* %(bracket)s), 0)
            FROM {_STATEMENTS} JOIN pg_roles ON pg_roles.oid = userid WHERE rolname = %(role)s
            """,  # noqa: S608 - a constant of ours
            {"bracket": _BRACKET, "role": ROLE},
        ).fetchone() or (0, 0)
        return Statements(work=float(work), bracket=float(bracket))

    def close(self) -> None:
        self._admin.close()

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=postgres dbname={name}", autocommit=True
        )

    def _one(self, query: LiteralString) -> str:
        row = self._admin.execute(query).fetchone()
        assert row
        return str(row[0])


@contextmanager
def database() -> Iterator[Database]:
    """As shipped but for the counting, which needs a module that small builds of PostgreSQL leave out."""
    counting = (
        f"shared_preload_libraries={_STATEMENTS}",
        # As many as it takes: what falls out of the table is not counted.
        f"{_STATEMENTS}.max=50000",
        f"{_STATEMENTS}.track_utility=on",
    )
    is_counting = _has_module()
    with postgres.cluster(settings=counting if is_counting else ()) as server:
        opened = Database(server, is_counting=is_counting)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def redis() -> Iterator[str]:
    """Memory only, the setting that is fastest; gives its URL."""
    executable, port = shutil.which("redis-server"), free_port()
    assert executable, "asked for before"
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    with (
        tempfile.TemporaryDirectory(prefix="i3tasks-redis-") as folder,
        running(executable, *options, "--dir", folder, environment=os.environ) as server,
    ):
        server.wait_for(partial(listens, port))
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def pubsub(kind: str) -> Iterator[str]:
    """An emulator, "embedded" or "google"; gives its address."""
    if kind == "google":
        with google_emulator.google_emulator(is_own=True) as target:
            yield target
        return
    port = free_port()
    command = (sys.executable, "-m", "i3tasks_emulator", "--port", str(port))
    with running(*command, environment=os.environ) as server:
        server.wait_for(lambda: "PUBSUB_EMULATOR_HOST" in server.output)
        yield f"127.0.0.1:{port}"


def missing(need: str) -> str | None:
    """Why a server cannot be had here, or None."""
    if need == "redis" and shutil.which("redis-server") is None:
        return "redis-server is not installed"
    if need == "google" and google_emulator.find_jar() is None:
        return "Google's Pub/Sub emulator is not installed"
    return None


@contextmanager
def started(needs: frozenset[str], pubsub_kind: str) -> Iterator[dict[str, str]]:
    """The servers a peer needs besides PostgreSQL; gives what its settings read of them."""
    with ExitStack() as exits:
        found = {}
        if "redis" in needs:
            found["BENCH_REDIS"] = exits.enter_context(redis())
        if "pubsub" in needs:
            found["BENCH_PUBSUB"] = exits.enter_context(pubsub(pubsub_kind))
        yield found


def _has_module() -> bool:
    prefix = postgres.binaries().parent
    return any((prefix / folder / f"{_STATEMENTS}.so").exists() for folder in ("lib", "lib/postgresql"))
