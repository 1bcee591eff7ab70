"""The import contracts of the workspace hold, and each of them bites: on a copy with one wrong import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = [contract["name"] for contract in CONFIG["contracts"]]
SOURCES = [*ROOT.glob("packages/*/src/*"), *ROOT.glob("services/*/src/*")]

VIOLATIONS = [
    ("i3tasks_core/states.py", "import django", "core knows no Django"),
    ("i3tasks_core/pubsub/clients.py", "from django.conf import settings", "core knows no Django"),
    ("i3tasks_core/worker.py", "import i3tasks_django.store", "core knows no Django"),
    ("i3tasks_django/apps.py", "import i3tasks_worker", "packages never import services"),
    ("i3tasks_core/worker.py", "from i3tasks_beat import __main__", "packages never import services"),
    ("i3tasks_emulator/__init__.py", "import i3tasks_receiver", "packages never import services"),
    ("i3tasks_worker/__main__.py", "import i3tasks_beat.__main__", "services never import each other"),
    (
        "i3tasks_receiver/__main__.py",
        "from i3tasks_worker import __main__",
        "services never import each other",
    ),
    (
        "i3tasks_django/delivery.py",
        "from google.pubsub_v1 import types",
        "only i3tasks_core.pubsub speaks to Google",
    ),
    ("i3tasks_core/worker.py", "import grpc", "only i3tasks_core.pubsub speaks to Google"),
    ("i3tasks_beat/__main__.py", "import google.auth", "only i3tasks_core.pubsub speaks to Google"),
    (
        "i3tasks_worker/__main__.py",
        "import i3tasks_emulator",
        "nothing that is deployed imports the emulator",
    ),
    ("i3tasks_django/apps.py", "import i3tasks_emulator", "nothing that is deployed imports the emulator"),
    ("i3tasks_emulator/__init__.py", "from i3tasks_core import names", "the emulator knows nobody"),
    ("i3tasks_emulator/__init__.py", "import django.conf", "the emulator knows nobody"),
    (
        "i3tasks_django/store/create.py",
        "from i3tasks_django import publishing",
        "the store is called, and calls nobody",
    ),
    (
        "i3tasks_django/models/result.py",
        "from i3tasks_django.views import push",
        "the store is called, and calls nobody",
    ),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages' sources side by side, under the workspace's own configuration."""
    for source in SOURCES:
        if source.is_dir() and source.name != "__pycache__":
            shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def verdicts(output: str) -> dict[str, bool]:
    """Which contracts were kept."""
    return {
        name: f"{name} KEPT" in output
        for name in CONTRACTS
        if f"{name} KEPT" in output or f"{name} BROKEN" in output
    }


def test_the_sources_as_they_are_keep_every_contract(copy):
    code, output = lint(copy)

    assert verdicts(output) == dict.fromkeys(CONTRACTS, True), output
    assert code == 0


@pytest.mark.parametrize(
    ("file", "line", "contract"), VIOLATIONS, ids=[f"{v[0]}: {v[1]}" for v in VIOLATIONS]
)
def test_a_wrong_import_breaks_its_contract(copy, file, line, contract):
    path = copy / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    code, output = lint(copy)

    assert code == 1, output
    assert verdicts(output)[contract] is False, output


def test_a_wrong_import_inside_a_function_is_found_too(copy):
    path = copy / "i3tasks_django/delivery.py"
    path.write_text(f"{path.read_text()}\n\ndef hidden():\n    import grpc\n")
    code, output = lint(copy)

    assert code == 1
    assert verdicts(output)["only i3tasks_core.pubsub speaks to Google"] is False


def test_every_contract_is_seen_to_bite():
    assert {contract for _, _, contract in VIOLATIONS} == set(CONTRACTS)
