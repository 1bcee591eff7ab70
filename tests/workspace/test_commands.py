"""The README's commands for the repository itself, and those for each service, are what runs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import readme


def uv(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        ["uv", *arguments],
        cwd=readme.ROOT, env=clean | environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_the_two_commands_are_the_ones_that_ci_and_the_demo_test_run():
    assert readme.plain_commands() == [
        "python3 -m pip install uv && uv run i3tasks-demo",
        "uv run pytest",
    ]
    assert "\nuv run pytest\n" in (readme.ROOT / ".ci" / "run").read_text()


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
@pytest.mark.parametrize("service", ["i3tasks-receiver", "i3tasks-worker", "i3tasks-beat"])
def test_uv_starts_each_service_which_says_what_it_misses(service):
    done = uv("run", "--no-sync", "--package", service, service)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{service}: DJANGO_SETTINGS_MODULE is not set: write")
