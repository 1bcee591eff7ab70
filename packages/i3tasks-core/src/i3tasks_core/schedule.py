"""Cron: which instants an expression means in a time zone. Pure, and exact on the days when clocks change.

The expression is read on the wall clock. Times that the clock leaves out happen as much later as it was put
forward. Times that it shows twice happen once when the hours are named (``30 2 * * *``), and both times when
they go round (``*``, ``*/2``): a year has 365 daily and 8,760 hourly ticks in every zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from i3tasks_core.config import Misfire

_SECOND = timedelta(seconds=1)
_AROUND = timedelta(hours=26)
"""Further than any clock is ever put forward or back: Samoa left out a day."""

_EXAMPLE = 'write five fields, "0 3 * * *" (minute, hour, day, month, weekday), or a sixth for seconds'
MOST_CHARACTERS = 200
_SINGLE_RANGE = re.compile(r"(?<!\w)(\w+)-\1(?!\w)", re.IGNORECASE)
_ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


class CronError(ValueError):
    """An expression or a zone that cannot be read; the text says what to write."""


def zone(name: Any) -> ZoneInfo:
    """The time zone of that name.

    Raises:
        CronError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise CronError(f'there is no time zone {name!r}: write one such as "Europe/Rome" or "UTC"') from None


@dataclass(frozen=True)
class Cron:
    """A cron expression in a time zone.

    Args:
        expression: five fields, a sixth for seconds, or one of ``@hourly``, ``@daily`` and so on.
        timezone: a name of the IANA database.

    Raises:
        CronError: the expression or the zone cannot be read, or the expression means no moment at all.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        zone(self.timezone)
        _check(self.expression)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return zone(self.timezone)

    @cached_property
    def _names_hours(self) -> bool:
        fields = self.expression.split()
        hours = fields[1] if len(fields) > 1 else ""
        return not (set("*/") & set(hours)) and self.expression.strip() != "@hourly"

    def following(self, moment: datetime) -> datetime:
        """The first tick after a moment.

        Args:
            moment: aware.

        Returns:
            The instant, in UTC.
        """
        after = moment.astimezone(UTC)
        before, later = self._offset(after - _AROUND), self._offset(after + _AROUND)
        if before == later:
            return self._on_the_wall(self._next(_wall(after, before)))
        return self._near_change(after, before, later)

    def latest(self, earliest: datetime, now: datetime) -> datetime | None:
        """The last tick from ``earliest`` (included) to ``now`` (included), however many there are."""
        low, high = earliest.astimezone(UTC) - _SECOND, now.astimezone(UTC)
        if self.following(low) > high:
            return None
        while high - low > _SECOND:
            middle = low + (high - low) / 2
            if self.following(middle) <= now:
                low = middle
            else:
                high = middle
        return self.following(low)

    def _near_change(self, after: datetime, before: timedelta, later: timedelta) -> datetime:
        """The same while the clock has just been put forward or back, or soon will be."""
        change = self._change(after - _AROUND, after + _AROUND, before)
        wall_change, new_wall = _wall(change, before), _wall(change, later)
        candidates = []
        # Before the change, and the times that it leaves out: those happen by the old offset.
        old = self._next(_wall(after, before))
        if old < max(wall_change, new_wall):
            candidates.append(old.replace(tzinfo=UTC) - before)
        # After it; times that were shown before are passed by if they are to happen once.
        first_new = max(wall_change, new_wall) if self._names_hours else new_wall
        new = self._next(max(_wall(after, later), first_new - _SECOND))
        candidates.append(
            self._on_the_wall(new) if new - _AROUND > first_new else new.replace(tzinfo=UTC) - later
        )
        return min(candidates)

    def _next(self, wall: datetime) -> datetime:
        from croniter import croniter  # most processes never ask when: it is 40 ms of a start

        found: datetime = croniter(self.expression.strip(), wall).get_next(datetime)
        return found

    def _on_the_wall(self, wall: datetime) -> datetime:
        """The instant at which the clock shows this, the first one of two."""
        return wall.replace(tzinfo=self._zone).astimezone(UTC)

    def _offset(self, moment: datetime) -> timedelta:
        offset = moment.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset

    def _change(self, low: datetime, high: datetime, before: timedelta) -> datetime:
        """When the offset changes between two moments, to the second."""
        low, high = low.replace(microsecond=0), high.replace(microsecond=0)
        while high - low > _SECOND:
            middle = (low + (high - low) / 2).replace(microsecond=0)
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high


def _wall(moment: datetime, offset: timedelta) -> datetime:
    return (moment + offset).replace(tzinfo=None)


def _check(expression: Any) -> None:
    """See that it can be read, and that every beat will read the same from it.

    Raises:
        CronError: it cannot.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise CronError(f"the cron expression is {expression!r}: {_EXAMPLE}")
    if len(expression) > MOST_CHARACTERS:
        raise CronError(
            f"the cron expression is {len(expression)} long: write at most {MOST_CHARACTERS} characters"
        )
    fields = expression.split()
    if expression.strip().startswith("@"):
        if expression.strip() not in _ALIASES:
            raise CronError(
                f"the cron expression {expression!r} is unknown: write one of {', '.join(_ALIASES)}"
            )
        return
    if len(fields) not in (5, 6):
        raise CronError(f"the cron expression {expression!r} has {len(fields)} fields: {_EXAMPLE}")
    if single := _SINGLE_RANGE.search(expression):
        # croniter takes 3-3 for a range that goes all the way round.
        raise CronError(f"the cron expression {expression!r} has the range {single[0]}: write {single[1]}")
    if any(field.upper().startswith(("R", "H")) for field in fields):
        raise CronError(f"the cron expression {expression!r} means another moment each time: {_EXAMPLE}")
    from croniter import CroniterError, croniter

    try:
        croniter(expression, datetime(2024, 1, 1)).get_next(datetime)  # noqa: DTZ001 - any day will do
    except (CroniterError, ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise CronError(f"the cron expression {expression!r} cannot be read ({error}): {_EXAMPLE}") from None


LATE = timedelta(seconds=15)
"""A tick that is fired within this time was fired in time: beats are restarted, and passes take a moment."""

MOST_TICKS = 100
"""Ticks of one schedule that one pass makes up for; the next pass goes on."""


def due(
    cron: Cron, next_run_at: datetime, now: datetime, misfire: Misfire
) -> tuple[list[datetime], datetime]:
    """Which ticks to fire, and which one comes after them.

    Args:
        cron: when the schedule ticks.
        next_run_at: the first tick that has not been fired; not after ``now``.
        now: aware.
        misfire: what becomes of ticks that nobody fired in time.
    """
    first = next_run_at
    if next_run_at < now - LATE:
        if misfire is Misfire.LATEST:
            last = cron.latest(next_run_at, now) or next_run_at
            return [last], cron.following(last)
        if misfire is Misfire.SKIP:
            first = cron.following(now - LATE)
    ticks: list[datetime] = []
    while first <= now and len(ticks) < MOST_TICKS:
        ticks.append(first)
        first = cron.following(first)
    return ticks, first
