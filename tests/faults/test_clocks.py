"""Time itself goes wrong: nobody was there, one process has another hour, a zone changes its clocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import ticks
from django.utils import timezone
from invariants import Rows

import messages
from i3tasks_core.config import Misfire
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_core.schedule import LATE, Cron, due
from i3tasks_django.delivery import Verdict
from i3tasks_django.maintenance import maintain
from i3tasks_django.models import TaskSchedule
from i3tasks_django.store import database_now
from project import tasks
from waiting import wait_until

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TEN_MINUTES = timedelta(minutes=10)


# Nobody was there.


@pytest.mark.usefixtures("database", "silent_pubsub")
@pytest.mark.parametrize("age", [timedelta(seconds=30), timedelta(seconds=5)], ids=["stale", "fresh"])
def test_after_an_hour_without_a_beat_each_schedule_fires_what_its_misfire_policy_says(age):
    # The last tick is so old: older than what counts as being in time, or not.
    second = (database_now() - age).second
    rows = {
        misfire: ticks.make_schedule(
            misfire.value, tasks.nothing, cron=f"* * * * * {second}", misfire=misfire
        )
        for misfire in Misfire
    }
    cron, now = Cron(rows[Misfire.ALL].cron), database_now()
    TaskSchedule.objects.update(next_run_at=cron.following(now - HOUR))

    first, second_pass = maintain(), maintain()

    ended = database_now()
    expected = _between(cron, now - HOUR, ended)
    fired = {misfire: [tick.tick_at for tick in ticks.ticks_of(row)] for misfire, row in rows.items()}
    assert fired[Misfire.ALL] == expected
    assert len(expected) in (60, 61)
    assert fired[Misfire.LATEST] == expected[-1:]
    assert fired[Misfire.SKIP] == (expected[-1:] if age < LATE else [])
    assert (first.fired_count, second_pass.fired_count) == (sum(map(len, fired.values())), 0)
    ticks.each_tick_made_one_call()
    assert set(TaskSchedule.objects.values_list("next_run_at", flat=True)) == {cron.following(ended)}


def _between(cron: Cron, after: datetime, until: datetime) -> list[datetime]:
    found, at = [], cron.following(after)
    while at <= until:
        found.append(at)
        at = cron.following(at)
    return found


# One process has another hour.


@pytest.fixture
def rung(monkeypatch):
    """What Pub/Sub has been handed."""
    handed: list[object] = []
    monkeypatch.setattr(Publisher, "publish", lambda _self, _topic, batch: handed.extend(batch))
    return handed


@contextmanager
def clock_of_this_process_off_by(error: timedelta) -> Iterator[None]:
    """Of its Python, that is: the database keeps its own, as it does on another machine."""
    real_time, real_ns, real_now = time.time, time.time_ns, datetime.now

    class OfAnyKind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Wrong(datetime, metaclass=OfAnyKind):
        @classmethod
        def now(cls, tz=None):
            return real_now(tz) + error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real_time() + error.total_seconds())
        patch.setattr(time, "time_ns", lambda: real_ns() + error // timedelta(microseconds=1) * 1_000)
        patch.setattr(timezone, "now", lambda: Wrong.now(UTC))
        for name, module in list(sys.modules.items()):
            if name.startswith("i3tasks_") and getattr(module, "datetime", None) is datetime:
                patch.setattr(module, "datetime", Wrong)
        yield


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def error(request):
    return request.param


@pytest.mark.usefixtures("database", "rung")
def test_a_beat_with_a_wrong_clock_fires_what_the_database_calls_due(error):
    row = ticks.make_schedule("every second", tasks.send, "tick")
    soon = database_now() + timedelta(minutes=10)
    later = ticks.make_schedule("in ten minutes", tasks.nothing, cron=f"{soon.minute} {soon.hour} * * *")
    row.next_run_at -= timedelta(seconds=5)
    row.save()

    with clock_of_this_process_off_by(error):
        assert maintain().fired_count >= 5
    is_next_due(row)
    right = maintain().fired_count
    is_next_due(row)
    with clock_of_this_process_off_by(error):
        assert maintain().fired_count >= 1 <= right
    until = database_now()

    ticks.every_second_was_fired(row, until=until - ticks.SECOND)
    ticks.each_tick_made_one_call()
    assert TaskSchedule.objects.get(pk=later.pk).next_run_at == later.next_run_at


def is_next_due(row: TaskSchedule) -> None:
    wait_until(lambda: TaskSchedule.objects.get(pk=row.pk).next_run_at <= database_now())


@pytest.mark.usefixtures("database")
def test_calls_of_a_process_with_a_wrong_clock_run_at_their_time_and_in_their_order(error, rung):
    with clock_of_this_process_off_by(error):
        row = ticks.make_schedule("every second", tasks.send, "tick")
        row.next_run_at -= timedelta(seconds=3)
        row.save()
        assert maintain().fired_count >= 3
    calls = {tick.task_execution_id for tick in ticks.ticks_of(row)}
    assert all(abs(_moment_in(pk) - database_now() - error) < timedelta(minutes=1) for pk in calls)
    TaskSchedule.objects.update(is_enabled=False)

    messages.deliver_all()

    rows = Rows()
    assert {row.state for row in rows.executions.values()} == {"success"}
    assert len(rows.executions) == 2 * len(calls)
    assert [len(rows.after[pk]) for pk in calls] == [1] * len(calls)


def _moment_in(pk: UUID) -> datetime:
    """What an id of version 7 begins with."""
    return datetime.fromtimestamp((pk.int >> 80) / 1_000, UTC)


@pytest.mark.usefixtures("database")
def test_a_wrong_clock_neither_rings_too_early_nor_takes_a_living_worker_for_dead(error, rung):
    with clock_of_this_process_off_by(error):
        delayed = tasks.nothing.using(run_after=HOUR / 2).delay()
    held = tasks.nothing.delay()
    (claim,) = messages.claim(held)
    rung.clear()

    with clock_of_this_process_off_by(error):
        done = maintain()

    assert (done.published_count, done.rescued_count, rung) == (0, 0, [])
    (attempt,) = messages.tries(delayed)
    assert abs(attempt.run_after - database_now() - HOUR / 2) < timedelta(minutes=1)
    assert messages.claim(delayed) == []
    assert messages.perform(claim) is Verdict.SETTLED


# A zone changes its clocks.

YEAR = 2026
ZONES = ["Europe/Rome", "America/New_York", "Australia/Lord_Howe"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("expression", "misfire"),
    [("30 2 * * *", Misfire.LATEST), ("45 1 * * *", Misfire.ALL), ("0 0 * * *", Misfire.ALL)],
)
def test_a_daily_schedule_fires_365_times_a_year_whenever_a_beat_comes_by(zone, expression, misfire):
    fired = fired_between(date(YEAR, 1, 1), date(YEAR + 1, 1, 1), Cron(expression, zone), misfire)

    assert len(fired) == len(set(fired)) == 365
    assert len({tick.astimezone(ZoneInfo(zone)).date() for tick in fired}) == 365


@pytest.mark.parametrize("zone", ZONES)
def test_an_hourly_schedule_fires_8760_times_a_year_whenever_a_beat_comes_by(zone):
    days = [date(YEAR, 1, 1) + number * DAY for number in range(365)]
    around = [day for day in days if _changes_near(_midnight(day, ZoneInfo(zone)), ZoneInfo(zone))]
    cron, fired = Cron("0 * * * *", zone), []
    for day in around:
        fired += fired_between(day, day + DAY, cron, Misfire.ALL)

    assert len(around) == 8
    # On all the other days an hour is an hour.
    assert len(set(fired)) + 24 * (365 - len(around)) == len(fired) + 24 * (365 - len(around)) == 8_760


def fired_between(first: date, end: date, cron: Cron, misfire: Misfire) -> list[datetime]:
    """What passes fire that come once a day, and every ten minutes on the days around a change."""
    zone = ZoneInfo(cron.timezone)
    now, over = _midnight(first, zone) - ticks.SECOND, _midnight(end, zone)
    next_run_at, fired = cron.following(now), []
    while next_run_at < over:
        now = min(now + (TEN_MINUTES if _changes_near(now, zone) else DAY), over - ticks.SECOND)
        if next_run_at <= now:
            found, next_run_at = due(cron, next_run_at, now, misfire)
            fired += found
    return fired


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _changes_near(now: datetime, zone: ZoneInfo) -> bool:
    return (now - 2 * DAY).astimezone(zone).utcoffset() != (now + 2 * DAY).astimezone(zone).utcoffset()
