"""Images and containers by buildah and podman, in a storage of their own: nobody else's are touched."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import readme

import processes

TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
PYTHON = "docker.io/library/python:3.11-slim"
_OWN_DOCKER = Path(__file__).with_name("bin")

# What Docker's python:3.11-slim is made of, as far as an image of ours can tell.
_DEBIAN = (
    "mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,ca-certificates,usr-is-merged",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")),
    "--customize-hook=chroot $1 apt-get purge --yes usrmerge perl 'libperl5*' 'perl-modules*' >&2",
    "--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/*",
    "bookworm",
)  # fmt: skip


class Machine:
    """A place for images and containers, and the environment of the commands that work on it.

    Attributes:
        environment: makes ``docker`` build and run here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        engine, storage = folder / "containers.conf", folder / "storage.conf"
        engine.write_text(
            f'[containers]\ndefault_ulimits = ["nofile={_most(resource.RLIMIT_NOFILE)}", '
            f'"nproc={_most(resource.RLIMIT_NPROC)}"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
        )
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
        )
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(engine),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "PATH": f"{_OWN_DOCKER}:{os.environ['PATH']}",
        }

    def run(self, *command: str, seconds: float = 600, **environment: str) -> str:
        """What a command writes to its standard output.

        Raises:
            AssertionError: it failed; says what it wrote.
        """
        done = self.result(*command, seconds=seconds, **environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def result(
        self, *command: str, seconds: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=readme.ROOT, env=self.environment | environment,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip

    def make_base_images(self) -> None:
        """Stand-ins for the two images that the Dockerfiles begin with, under their names.

        Each is pulled where a registry can be reached, by whoever builds for the world; here never.
        """
        tar = str(self._folder / "debian.tar")
        self.run(*_DEBIAN, tar)
        self._commit(tar, "/", PYTHON)
        # Not what `which` finds: that may be a script which calls it.
        self._commit(self.run("uv", "run", "--no-project", "printenv", "UV").strip(), "/uv", _uv_image())

    def _commit(self, source: str, target: str, image: str) -> None:
        made = self.run("buildah", "from", "scratch").strip()
        self.run("buildah", "add", made, source, target)
        self.run("buildah", "commit", "--quiet", "--format", "docker", "--rm", made, image)

    def remove(self) -> None:
        self.result("podman", "rm", "--all", "--force", "--time", "0")
        self.result("podman", "rmi", "--all", "--force")
        self.result("umount", str(self._folder / "images" / "overlay"))
        shutil.rmtree(self._folder)


class Container:
    """One service, confined as its manifests confine it, on the machine's own network.

    Attributes:
        cold_start: seconds from the command to the answer of its readiness probe.
    """

    def __init__(
        self, machine: Machine, image: str, *command: str,
        environment: Mapping[str, str], volumes: tuple[str, ...] = (), port: int | None = None,
    ) -> None:  # fmt: skip
        self._machine = machine
        self.name = f"i3tasks-{uuid.uuid4().hex[:8]}"
        began = time.monotonic()
        options = ("--detach", "--name", self.name, *confined(environment, volumes))
        machine.run("podman", "run", *options, image, *command)
        if port is not None:
            processes.wait_until(lambda: processes.get(port, "/health/ready")[0] == 200, 30, self.output)
        self.cold_start = time.monotonic() - began

    @property
    def output(self) -> str:
        done = self._machine.result("podman", "logs", self.name)
        return done.stdout + done.stderr

    def is_healthy(self) -> bool:
        """What the image's own health check says."""
        return self._machine.result("podman", "healthcheck", "run", self.name).returncode == 0

    def signal(self, name: str) -> None:
        self._machine.run("podman", "kill", "--signal", name, self.name)

    def exit_code(self, seconds: float = 10.0) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it has not ended by then.
        """
        return int(self._machine.run("podman", "wait", "--interval", "100ms", self.name, seconds=seconds))

    def end(self) -> None:
        self._machine.run("podman", "rm", "--force", "--time", "0", self.name)


def confined(environment: Mapping[str, str], volumes: tuple[str, ...] = ()) -> list[str]:
    """Options of ``podman run``: no capabilities, and nothing to write to but ``/tmp``."""
    return [
        "--network", "host", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges",
        *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
        *(word for volume in volumes for word in ("--volume", volume)),
    ]  # fmt: skip


@contextmanager
def machine() -> Iterator[Machine]:
    # Not under /tmp, which may lie in memory; and short, for the sockets' sake.
    made = Machine(Path(tempfile.mkdtemp(prefix="i3tasks-", dir="/var/tmp")))
    try:
        yield made
    finally:
        made.remove()


def size_mb(machine: Machine, image: str) -> int:
    (found,) = json.loads(machine.run("podman", "image", "inspect", image))
    return round(found["Size"] / 1e6)


def _most(limit: int) -> str:
    """A soft and a hard limit that this machine allows."""
    hard = resource.getrlimit(limit)[1]
    count = 32_768 if hard == resource.RLIM_INFINITY else min(hard, 32_768)
    return f"{count}:{count}"


def _uv_image() -> str:
    """Its name, as the Dockerfiles write it."""
    first_from = next(line for line in _dockerfile("receiver").splitlines() if line.startswith("FROM "))
    return first_from.split()[1]


def _dockerfile(service: str) -> str:
    return (readme.ROOT / "services" / service / "Dockerfile").read_text()
