"""An error in one line: what it says, and where in the project's own code it comes from."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

_NOT_THEIRS = frozenset(
    {"django", "i3tasks_core", "i3tasks_django", "i3tasks_receiver", "i3tasks_worker", "i3tasks_beat"}
)
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY = Path(os.__file__).parent


def describe(error: BaseException) -> str:
    """What is wrong and where, e.g. ``KeyError: 'DATABASE_URL' (shop/settings.py, line 12)``.

    The place is the innermost one in the project's code; if the error passed through none of it, the
    innermost in a library that is not Django. A cause that the error was raised from is named too.
    """
    said = "; caused by ".join(f"{type(each).__name__}: {each}".removesuffix(": ") for each in _chain(error))
    place = _place(error)
    return f"{said} ({place})" if place else said


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        yield current
        seen.append(current)
        current = current.__cause__


def _place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return None  # its text names the place already, and no frame of that file was ever entered
    innermost_first = [
        found for each in _chain(error) for found in reversed(list(traceback.walk_tb(each.__traceback__)))
    ]
    for whose in ("project", "library"):
        for frame, line in innermost_first:
            if _owner(frame) == whose:
                return f"{_shown(frame)}, line {line}"
    return None


def _owner(frame: FrameType) -> Literal["project", "library"] | None:
    """None for Django, for us and for what comes with Python: no mistake of a project is mended there."""
    path = Path(frame.f_code.co_filename)
    module = str(frame.f_globals.get("__name__")).partition(".")[0]
    if module in _NOT_THEIRS or not path.is_absolute():  # "<frozen importlib._bootstrap>"
        return None
    if _INSTALLED & set(path.parts):
        return "library"
    return None if path.is_relative_to(_STANDARD_LIBRARY) else "project"


def _shown(frame: FrameType) -> str:
    """The file, as seen from the folder the service is run from; elsewhere only its name."""
    path = Path(frame.f_code.co_filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
