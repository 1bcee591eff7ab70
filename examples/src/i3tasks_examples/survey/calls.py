"""The calls that make up one survey."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

from django.db import transaction

from i3tasks_django import Chain, ChainHandle, Signature, chain, group
from i3tasks_django.models import TaskGroup
from i3tasks_examples.survey import library
from i3tasks_examples.survey.tasks import note_unparsable, sum_up_library, sum_up_package, survey_file

QUEUES = ("default", "heavy")
"""Taken in turns: half of the files are pushed to the receiver, half are pulled by the worker."""


def ask_too_early() -> ChainHandle:
    """Ask for a package's report before its modules are surveyed: the first try must fail."""
    return sum_up_package.delay(library.ASKED_EARLY, len(library.modules_of(library.ASKED_EARLY)))


def ask_for_survey(modules: Sequence[Path]) -> TaskGroup:
    """Call everything, in one transaction: a group for each package, and all of them as one group.

    The files that are not Python are a group of their own, so that their failures stop no report.

    Returns:
        The group of the packages; its counts say how many reports have been made.
    """
    queues = cycle(QUEUES)
    packages = library.by_package(modules)
    with transaction.atomic():
        surveyed = TaskGroup.dispatch(
            [_survey_package(package, files, queues) for package, files in packages.items()],
            callback=sum_up_library,
        )
        TaskGroup.dispatch(_survey_files(library.unparsable(), queues), on_failure=note_unparsable)
    return surveyed


def task_count(modules: Sequence[Path]) -> int:
    """How many tasks both come to: the files, the packages, the library, what is noted, the early one."""
    return len(modules) + len(library.unparsable()) + len(library.by_package(modules)) + 3


def _survey_package(package: str, files: Sequence[Path], queues: Iterator[str]) -> Chain:
    return chain(group(_survey_files(files, queues)), sum_up_package.s(package, len(files)))


def _survey_files(files: Iterable[Path], queues: Iterator[str]) -> list[Signature]:
    return [survey_file.using(queue_name=next(queues)).s(str(file)) for file in files]
