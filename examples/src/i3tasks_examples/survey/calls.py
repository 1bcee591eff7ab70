"""The calls that make up one survey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from django.db import transaction

from i3tasks_django import ChainHandle
from i3tasks_examples.survey import library
from i3tasks_examples.survey.tasks import sum_up_package, survey_file

QUEUES = ("default", "heavy")
"""Taken in turns: half of the files are pushed to the receiver, half are pulled by the worker."""

BATCH = 100
"""Calls in one transaction: one commit, and one message batch to Pub/Sub for each queue."""


def ask_for_summary() -> ChainHandle:
    """Ask for the package's summary. Asked before its modules are surveyed, its first try must fail."""
    return sum_up_package.delay(library.SUMMED_UP)


def ask_for_survey(paths: Sequence[Path]) -> Iterator[int]:
    """Call the task for every file, a batch at a time.

    Yields:
        How many calls the batch held, after its commit.
    """
    queues = cycle(QUEUES)
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        with transaction.atomic():
            for path, queue_name in zip(batch, islice(queues, len(batch)), strict=True):
                survey_file.using(queue_name=queue_name).delay(str(path))
        yield len(batch)
