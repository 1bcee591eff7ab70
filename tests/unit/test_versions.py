"""The members of the workspace are released together."""

from __future__ import annotations

import importlib
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKSPACE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MEMBERS: dict[Path, dict[str, Any]] = {
    path: tomllib.loads((path / "pyproject.toml").read_text())["project"]
    for pattern in WORKSPACE["tool"]["uv"]["workspace"]["members"]
    for path in sorted(ROOT.glob(pattern))
    if (path / "pyproject.toml").exists()
}
NAMES = {project["name"] for project in MEMBERS.values()}
VERSION = WORKSPACE["project"]["version"]

# In parts, so that this file does not name them.
INDEX_HOSTS = ["pypi" + ".org", "files.python" + "hosted.org", "pypi.python" + ".org"]

every_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)


def dependencies(project: dict[str, Any]) -> list[str]:
    optional = project.get("optional-dependencies", {})
    return [*project.get("dependencies", []), *(line for lines in optional.values() for line in lines)]


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return match.group()


def test_the_members_are_found():
    assert {"i3tasks-core", "i3tasks-django", "i3tasks-worker"} <= NAMES


@every_member
def test_every_member_has_the_workspaces_version(member):
    assert MEMBERS[member]["version"] == VERSION


@every_member
def test_members_pin_each_other_to_exactly_that_version(member):
    ours = [line for line in dependencies(MEMBERS[member]) if name_of(line) in NAMES]

    for line in ours:
        assert re.fullmatch(rf"[a-z0-9-]+(\[[a-z,]+\])?=={re.escape(VERSION)}", line), line


@every_member
def test_every_member_is_a_workspace_source(member):
    """So that a checkout never takes one of its own members from an index."""
    assert WORKSPACE["tool"]["uv"]["sources"][MEMBERS[member]["name"]] == {"workspace": True}


@every_member
def test_every_member_carries_the_roots_licence(member):
    assert (member / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert MEMBERS[member]["license-files"] == ["LICENSE"]


@every_member
def test_every_member_needs_the_same_python(member):
    assert MEMBERS[member]["requires-python"] == WORKSPACE["project"]["requires-python"]


@every_member
def test_a_version_in_the_code_is_the_packages(member):
    module = importlib.import_module(MEMBERS[member]["name"].replace("-", "_"))

    assert getattr(module, "__version__", VERSION) == VERSION


def test_no_file_but_the_lock_names_a_package_index():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name and name != "uv.lock"]
    assert len(files) > 20
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files
        if path.is_file()
        for host in INDEX_HOSTS
        if host.encode() in path.read_bytes()
    ]

    assert not found
