"""The wheels install with plain pip, each alone, and the README's quick start works from them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import readme

import processes
from ports import free_port

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

MEMBERS = {
    "i3tasks-core": "import i3tasks_core.worker, i3tasks_core.config",
    "i3tasks-django": "import i3tasks_django, i3tasks_django.types",
    "i3tasks-emulator": "import i3tasks_emulator.server",
    "i3tasks-receiver": "import i3tasks_receiver.__main__",
    "i3tasks-worker": "import i3tasks_worker.__main__",
    "i3tasks-beat": "import i3tasks_beat.__main__",
    "i3tasks-examples": "import i3tasks_examples.demo",
}
DEPLOYED = ("i3tasks-receiver", "i3tasks-worker", "i3tasks-beat", "i3tasks-django", "i3tasks-core")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        ["uv", "build", "--all-packages", "--wheel", "--out-dir", folder], cwd=readme.ROOT, check=True
    )
    return folder


def make_environment(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("member", MEMBERS)
def test_each_wheel_installs_alone_and_imports(wheels, tmp_path, member):
    python = make_environment(tmp_path / "venv")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--find-links", wheels, member], check=True)

    subprocess.run([python, "-c", MEMBERS[member]], check=True, cwd=tmp_path)
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    if member == "i3tasks-core":
        assert "\nDjango " not in listed
    if member in DEPLOYED:
        assert "i3tasks-emulator" not in listed
    if member == "i3tasks-worker":
        assert "gunicorn" not in listed


class Shop:
    """The project that a reader of the quick start ends up with."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self.ports = {port: free_port() for port in ("8085", "8080", "8081")}
        self.environment = {
            "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "PORT": str(self.ports["8080"]),  # the receiver's default in the README
            **{
                name: value
                for name, value in os.environ.items()
                if name.startswith(("PIP_", "SSL_", "REQUESTS_"))
            },
        }
        self._wheels = wheels

    def text(self, title: str) -> str:
        """A block of the README with free ports in place of the ones it names, and the wheels' folder."""
        found = readme.block(title).replace("../i3tasks/dist", str(self._wheels))
        for port, free in self.ports.items():
            found = found.replace(port, str(free))
        return found

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, line: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["bash", "-c", f"exec env {line}"], cwd=self.folder, env=self.environment)


@pytest.fixture
def shop(wheels: Path, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, wheels)
    made.run(made.text("setup"))
    settings = tmp_path / "shop" / "settings.py"
    settings.write_text(settings.read_text() + "\n" + made.text("shop/settings.py"))
    (tmp_path / "orders" / "tasks.py").write_text(made.text("orders/tasks.py"))
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_the_quick_start_works_from_the_wheels(shop):
    shop.run(shop.text("commands"))
    services = [shop.start(line) for line in shop.text("services").splitlines()]
    try:
        deadline = time.monotonic() + 60
        while processes.get(shop.ports["8080"], "/health/ready")[0] != 200:
            assert time.monotonic() < deadline, "the receiver did not start"
            time.sleep(0.1)
        said = shop.run(shop.text("calls"))
    finally:
        for service in services:
            service.send_signal(signal.SIGTERM)
        codes = [service.wait(30) for service in services]

    assert "3\n" in said
    assert "invoice of order 7 sent" in said
    assert '"status": "ok"' in said
    assert codes == [0, 0, 0, 0]
