"""Cron expressions on the wall clocks of the world, the days when they change included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core.schedule import Cron, CronError

ZONES = ["UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]
CHANGING = ["Europe/Rome", "America/New_York", "Australia/Lord_Howe"]


def ticks(expression, zone, start, end):
    """All ticks from ``start`` (included) to ``end``, both on the zone's wall clock."""
    cron, at = Cron(expression, zone), start.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end_at = end.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    at, found = cron.following(at - timedelta(seconds=1)), []
    while at < end_at:
        found.append(at)
        at = cron.following(at)
    return found


def walls(found, zone):
    return [f"{tick.astimezone(ZoneInfo(zone)):%d %H:%M}" for tick in found]


def ticks_of_a_year(expression, zone):
    found = ticks(expression, zone, datetime(2026, 1, 1), datetime(2027, 1, 1))
    assert len(found) == len(set(found))
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["0 3 * * *", "30 2 * * *"])
def test_a_year_has_365_daily_ticks_in_every_zone(zone, expression):
    assert len(ticks_of_a_year(expression, zone)) == 365


@pytest.mark.parametrize("zone", CHANGING)
def test_a_year_has_8760_hourly_ticks_in_every_zone(zone):
    assert len(ticks_of_a_year("0 * * * *", zone)) == 8760


@pytest.mark.parametrize("zone", CHANGING)
@pytest.mark.parametrize("minute", [75, 105, 120, 135])
def test_a_named_time_happens_once_on_every_day_of_the_year(zone, minute):
    found = ticks(f"{minute % 60} {minute // 60} * * *", zone, datetime(2026, 1, 1), datetime(2027, 1, 1))

    days = [tick.astimezone(ZoneInfo(zone)).date() for tick in found]
    assert len(days) == len(set(days)) == 365


def test_a_time_that_is_left_out_happens_as_much_later():
    assert walls(
        ticks("30 2 * * *", "Europe/Rome", datetime(2026, 3, 28), datetime(2026, 3, 31)), "Europe/Rome"
    ) == [
        "28 02:30",
        "29 03:30",
        "30 02:30",
    ]


def test_a_named_time_that_is_shown_twice_happens_the_first_time():
    (tick,) = ticks("30 2 * * *", "Europe/Rome", datetime(2026, 10, 25), datetime(2026, 10, 26))

    assert tick == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_hours_that_go_round_happen_both_times():
    found = ticks("30 * * * *", "Europe/Rome", datetime(2026, 10, 25), datetime(2026, 10, 25, 4))

    assert walls(found, "Europe/Rome") == ["25 00:30", "25 01:30", "25 02:30", "25 02:30", "25 03:30"]


def test_a_clock_that_changes_by_half_an_hour():
    zone = "Australia/Lord_Howe"
    spring = ticks("0 * * * *", zone, datetime(2026, 10, 4), datetime(2026, 10, 4, 5))
    autumn = ticks("*/15 * * * *", zone, datetime(2026, 4, 5, 1, 15), datetime(2026, 4, 5, 2, 15))

    assert walls(spring, zone) == ["04 00:00", "04 01:00", "04 02:30", "04 03:00", "04 04:00"]
    assert walls(autumn, zone) == [
        f"05 {time}" for time in ("01:15", "01:30", "01:45", "01:30", "01:45", "02:00")
    ]


def test_a_day_that_a_zone_leaves_out():
    # Samoa went from the 29th to the 31st of December 2011.
    found = ticks("0 12 * * *", "Pacific/Apia", datetime(2011, 12, 28), datetime(2012, 1, 2))

    assert walls(found, "Pacific/Apia") == ["28 12:00", "29 12:00", "31 12:00", "01 12:00"]


def test_six_fields_are_seconds():
    found = ticks("* * * * * */20", "UTC", datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 1))

    assert [tick.second for tick in found] == [0, 20, 40]


@pytest.mark.parametrize("alias", ["@hourly", "@daily", "@monthly"])
def test_aliases(alias):
    assert Cron(alias, "Europe/Rome").following(datetime(2026, 1, 1, tzinfo=UTC)) > datetime(
        2026, 1, 1, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "wrong",
    ["", " ", "* * * *", "* * * * * * *", "61 * * * *", "a b c d e", "*/0 * * * *", "0 0 30 2 *", "R * * * *",
     "H H * * *", "@reboot", "@soon", None, 5, "0 0 * * mon#9"],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_what_to_write(wrong):
    with pytest.raises(CronError, match=r"write (five fields|one of @yearly)"):
        Cron(wrong)


@pytest.mark.parametrize("expression", ["0 3-3 * * *", "0 3 * * mon-MON", "5-5 3 * * *"])
def test_a_range_of_one_value_is_refused(expression):
    with pytest.raises(CronError, match=r"has the range \S+: write \w+"):
        Cron(expression)


def test_spaces_around_an_alias_do_no_harm():
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert Cron(" @daily ").following(moment) == datetime(2026, 1, 2, tzinfo=UTC)


def test_an_expression_that_no_column_holds_is_refused():
    with pytest.raises(CronError, match="write at most 200"):
        Cron(f"{','.join(map(str, range(60)))} {','.join(map(str, range(24)))} * * *")


@pytest.mark.parametrize("wrong", ["", "Rome", "Europe/Nowhere", "../etc/passwd", "/etc/localtime", None, 5])
def test_a_zone_that_does_not_exist_is_told_with_what_to_write(wrong):
    with pytest.raises(CronError, match=r'there is no time zone .*: write one such as "Europe/Rome"'):
        Cron("* * * * *", wrong)


def test_the_latest_tick_of_a_long_time_is_found_without_walking_through_it():
    now = datetime(2026, 6, 1, 12, 0, 30, 500, tzinfo=UTC)
    year_ago = now - timedelta(days=365)

    assert Cron("* * * * * *").latest(year_ago, now) == now.replace(microsecond=0)
    assert Cron("0 3 * * *", "Europe/Rome").latest(year_ago, now) == datetime(2026, 6, 1, 1, tzinfo=UTC)
    assert Cron("0 0 29 2 *").latest(year_ago, now) is None


EXPRESSIONS = [
    "*/5 * * * *",
    "0 * * * *",
    "15,45 */2 * * *",
    "30 1 * * *",
    "30 2 * * *",
    "0 3 * * 0",
    "59 23 * * *",
]
moments = st.datetimes(datetime(2025, 12, 1), datetime(2027, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


@settings(max_examples=60, deadline=None)
@given(expression=st.sampled_from(EXPRESSIONS), zone=st.sampled_from(CHANGING), moment=moments)
def test_ticks_go_forward_and_none_lies_between(expression, zone, moment):
    cron = Cron(expression, zone)
    first = cron.following(moment)
    second = cron.following(first)

    assert moment < first < second
    assert cron.following(first - timedelta(microseconds=1)) == first
    assert cron.following(first + (second - first) / 2) == second
    assert cron.latest(first, second - timedelta(seconds=1)) == first
    assert cron.latest(first, second) == second
