"""Which files are surveyed: the standard library of this machine, and two that are not Python."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

LEFT_OUT = ("test", "tests", "idle_test", "site-packages", "dist-packages")
"""Folders that are not surveyed: installed packages, and test suites, which hold files broken on purpose."""

TOP_LEVEL = "(top level)"
"""The package of the modules that lie in no folder."""

ASKED_EARLY = "asyncio"
"""The package whose report is also asked for before its modules have been surveyed."""

BROKEN = Path(__file__).parents[1] / "broken"


def root() -> Path:
    """Where this interpreter keeps its standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def surveyed(limit: int | None = None) -> list[Path]:
    """The modules that one survey covers, those of the package that is asked for early first.

    Args:
        limit: so many modules at most; that package is always whole.
    """
    package = modules_of(ASKED_EARLY)
    others = sorted(set(modules()) - set(package))
    most = None if limit is None else max(0, limit - len(package))
    return [*package, *others[:most]]


def by_package(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """The same files, each with those of its package."""
    packages: dict[str, list[Path]] = {}
    for path in paths:
        packages.setdefault(package_of(name_of(path)), []).append(path)
    return packages


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
    """The top folder of a name; the modules that lie in none are one package as well."""
    folder, slash, _ = name.partition("/")
    return folder if slash else TOP_LEVEL


def _python_files(folder: Path) -> Iterator[Path]:
    # Followed by hand: rglob() would first walk through all installed packages.
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in LEFT_OUT:
                yield from _python_files(path)
        elif path.suffix == ".py":
            yield path
