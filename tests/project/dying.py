"""Death at a named line: the fault tests' own seams, of which the product knows nothing.

Only ``project.dying_settings`` installs this, and only the processes of one fault test name those settings.
A function of the product is wrapped so that its process ends right before or right after it, as if it were
killed there: nothing is flushed, nothing is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import AppConfig

POINTS, MINES = "TEST_POINTS", "TEST_MINES"
"""Environment: the points as ``name=module:function:moment``, one a line, and the folder in which a file of
a point's name arms it, once."""


class Dying(AppConfig):
    name = "project.dying"
    label = "dying"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        for line in os.environ[POINTS].splitlines():
            name, _, place = line.partition("=")
            lay(Path(os.environ[MINES], name), place)
        # A pull worker's own passes would now and then come before the beat's, which is to die.
        import_module("i3tasks_django.beating").SideBeat.PERIODS = (3_600.0, 3_600.0)


def lay(mine: Path, place: str) -> None:
    """Wrap the function.

    Raises:
        AttributeError: there is none of that name (any more).
    """
    module, path, moment = place.split(":")
    owner: Any = import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, mined(getattr(owner, name), mine, moment))


def mined(function: Callable[..., Any], mine: Path, moment: str) -> Callable[..., Any]:
    @wraps(function)
    def stepping(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            step_on(mine)
        result = function(*args, **kwargs)
        if moment == "after":
            step_on(mine)
        return result

    return stepping


def step_on(mine: Path) -> None:
    try:
        mine.unlink()  # whoever gets it away, of all processes, dies
    except FileNotFoundError:
        return
    os._exit(137)
