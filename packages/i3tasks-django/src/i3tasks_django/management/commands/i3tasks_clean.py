"""``python manage.py i3tasks_clean --days 30``: delete what ended long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from i3tasks_core.states import ExecutionState
from i3tasks_django import store
from i3tasks_django.runtime import runtime
from i3tasks_django.store.clean import BATCH, Cleaned

MOST_DAYS = 36_500
MOST_AT_ONCE = 10_000


class Command(BaseCommand):
    help = (
        "Delete executions and groups that ended, and schedule ticks that fired, longer ago than I3TASKS' "
        "autoclean_older_than says. What is pending or still needed stays."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, help="instead of autoclean_older_than; 0: all that has ended")
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument(
            "--batch-size", type=int, default=BATCH, help=f"rows in one transaction ({BATCH})"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        batches = store.clean(
            _older_than(options["days"]),
            batch_size=_within("--batch-size", options["batch_size"], 1, MOST_AT_ONCE),
            dry_run=options["dry_run"],
        )
        total = Cleaned()
        try:
            for cleaned in batches:
                total += cleaned
        finally:  # also on Ctrl+C: what is committed is gone
            self._tell(total, "would be deleted" if options["dry_run"] else "deleted")

    def _tell(self, total: Cleaned, what: str) -> None:
        for state in ExecutionState:
            if state is not ExecutionState.PENDING:
                self.stdout.write(f"{total.executions[state]:9,} executions {what}: {state}")
        self.stdout.write(f"{total.group_count:9,} groups {what}")
        self.stdout.write(f"{total.tick_count:9,} schedule ticks {what}")
        if total.kept_count:
            self.stdout.write(f"{total.kept_count:9,} rows kept: rows of other tables point at them")


def _older_than(days: int | None) -> timedelta:
    if days is not None:
        return timedelta(days=_within("--days", days, 0, MOST_DAYS))
    configured = runtime().config.autoclean_older_than
    if configured is None:
        raise CommandError(
            "how old is old? Write --days N, or autoclean_older_than=timedelta(days=30) in I3TASKS"
        )
    return configured


def _within(option: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise CommandError(f"{option} is {value}: write a whole number from {least} to {most:,}")
    return value
