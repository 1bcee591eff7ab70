"""Which Python runs a peer: the workspace's, or one made for it alone by uv.

A peer that insists on a version of something that we use must not decide what the workspace resolves to.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.peers.peer import Peer

_SHARED = ("django", "psycopg", "psycopg-binary", "tzdata")
"""What all peers have in the workspace's version, so that only the peers differ."""


def missing(peer: Peer) -> str | None:
    """Why its packages cannot be had here, or None."""
    if peer.requirements:
        return None if shutil.which("uv") else "uv is not installed"
    absent = [name for name in peer.distributions if not _is_installed(name)]
    return f"{', '.join(absent)} not installed: run with uv run --group bench" if absent else None


def versions(peer: Peer) -> list[str]:
    """What is measured, as requirements. The peer's packages are here."""
    return list(peer.requirements) or [f"{name}=={metadata.version(name)}" for name in peer.distributions]


class Environments:
    """Makes each environment once.

    Args:
        folder: where they lie until the run ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def python(self, peer: Peer) -> str:
        if not peer.requirements:
            return sys.executable
        home = self._folder / peer.name
        python = str(home / "bin" / "python")
        if not home.exists():
            shared = [f"{name}=={metadata.version(name)}" for name in _SHARED if _is_installed(name)]
            _uv("venv", "--python", sys.executable, str(home))
            _uv("pip", "install", "--python", python, *shared, *peer.requirements)
        return python


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _uv(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - arguments of ours
        [shutil.which("uv") or "uv", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}: {done.stderr[-2000:]}")
