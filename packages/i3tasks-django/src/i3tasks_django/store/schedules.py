"""SCHEDULES: the rows are made to say what the settings, the decorators and people say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from i3tasks_core.schedule import Cron
from i3tasks_django.models import TaskSchedule
from i3tasks_django.store.database import alias, database_now, resilient

FORGOTTEN_AFTER = timedelta(days=1)
"""A row of the settings that nobody has declared for so long belongs to no release that still runs."""

_DECLARED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A schedule of the settings or of a decorator, checked."""

    key: str
    source: str
    task_path: str
    task_name: str
    task_args: list[Any]
    task_kwargs: dict[str, Any]
    queue_name: str
    cron: str
    timezone: str
    misfire: str
    overlap: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What declaring has shown.

    Attributes:
        others: ids of rows that belong to other releases: they are not ours to fire.
        taken: keys that a schedule made in the admin has already; theirs stays as it is.
    """

    others: list[int]
    taken: list[str]


def declare(entries: Iterable[Entry], *, editing: bool = True, patience: float = 4.0) -> Declared:
    """Make the rows of these entries, say that they are still wanted, and forget what nobody wants any more.

    What a person has made or paused stays. Rows of other releases are left to them, until none of their
    processes has declared them for a day: then they go, paused or not; the calls that they made stay.

    Args:
        entries: all that this process knows.
        editing: write what differs in rows that are there. A process does so when it starts: the release
            that started last has the last word, and an older one beside it does not take it back.
        patience: seconds to go on trying while the database is away.
    """
    wanted = {entry.key: entry for entry in entries}

    def write() -> Declared:
        with transaction.atomic(using=alias()):
            return _declare(wanted, editing=editing)

    return resilient("schedules", write, patience)


def edit(row: TaskSchedule, **fields: Any) -> bool:
    """Write what somebody has edited; ticks that were planned by the old version no longer fire.

    Returns:
        False when somebody else has edited it meanwhile: nothing is written.
    """
    plan: dict[str, Any] = {}
    if fields != {"is_enabled": False}:  # a pause needs no plan, and must work for what cannot be read
        cron = Cron(fields.get("cron", row.cron), fields.get("timezone", row.timezone))
        plan = {"next_run_at": cron.following(database_now())}
    changed = (
        TaskSchedule.objects.using(alias())
        .filter(pk=row.pk, version=row.version)
        .update(**fields, **plan, version=F("version") + 1)
    )
    return changed == 1


def _declare(wanted: dict[str, Entry], *, editing: bool) -> Declared:
    schedules = TaskSchedule.objects.using(alias())
    rows = {row.key: row for row in schedules.filter(key__in=wanted)}
    now = database_now()
    # Two beats may start at once: the second one's rows are the first one's.
    schedules.bulk_create(
        [
            TaskSchedule(**asdict(entry), next_run_at=Cron(entry.cron, entry.timezone).following(now))
            for key, entry in wanted.items()
            if key not in rows
        ],
        ignore_conflicts=True,
    )
    taken = [key for key, row in rows.items() if row.source == TaskSchedule.Source.ADMIN]
    ours = {key: row for key, row in rows.items() if key not in taken}
    if editing:
        _edit_all(ours.values(), wanted)
    if any(row.declared_at < now - _DECLARED_EVERY for row in ours.values()):
        schedules.filter(key__in=ours).update(declared_at=Now())
    others = schedules.exclude(source=TaskSchedule.Source.ADMIN).exclude(key__in=wanted)
    others.filter(declared_at__lt=now - FORGOTTEN_AFTER).delete()
    return Declared(others=list(others.values_list("pk", flat=True)), taken=taken)


def _edit_all(rows: Iterable[TaskSchedule], wanted: dict[str, Entry]) -> None:
    for row in rows:
        said = asdict(wanted[row.key])
        if any(_plain(getattr(row, name)) != _plain(said[name]) for name in said):
            edit(row, **said)


def _plain(value: Any) -> Any:
    """As both databases give it back: JSON knows no tuples, and PostgreSQL's makes 1e300 a whole number."""
    return json.loads(json.dumps(value), parse_int=float)
