"""Which files are surveyed: the standard library of this machine, and two that are not Python."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = ("test", "tests", "idle_test", "site-packages", "dist-packages")
"""Folders that are not surveyed: installed packages, and test suites, which hold files broken on purpose."""

SUMMED_UP = "asyncio"
"""The package whose reports are added up."""

BROKEN = Path(__file__).parents[1] / "broken"


def root() -> Path:
    """Where this interpreter keeps its standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def survey_files(limit: int | None = None) -> list[Path]:
    """What one survey covers: the summed-up package first, then all other modules, the unparsable files last.

    Args:
        limit: so many modules at most; the summed-up package is always whole.
    """
    package = modules_of(SUMMED_UP)
    others = sorted(set(modules()) - set(package))
    most = None if limit is None else max(0, limit - len(package))
    return [*package, *others[:most], *unparsable()]


def modules() -> list[Path]:
    """Every module, in the order of names."""
    return sorted(_python_files(root()))


def modules_of(package: str) -> list[Path]:
    """The modules of one package, its sub-packages included."""
    return sorted(_python_files(root() / package))


def unparsable() -> list[Path]:
    """The two files that ship with the example and cannot be parsed.

    They are called ``.py.txt`` so that no tool takes them for source code.
    """
    return sorted(BROKEN.glob("*.py.txt"))


def name_of(path: Path) -> str:
    """How a report calls the file: its path within the library."""
    if path.is_relative_to(root()):
        return path.relative_to(root()).as_posix()
    return f"{path.parent.name}/{path.name}"


def package_of(name: str) -> str:
    """The top folder of a name; a module that lies in none is its own."""
    return name.partition("/")[0].removesuffix(".py")


def _python_files(folder: Path) -> Iterator[Path]:
    # Followed by hand: rglob() would first walk through all installed packages.
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in LEFT_OUT:
                yield from _python_files(path)
        elif path.suffix == ".py":
            yield path
