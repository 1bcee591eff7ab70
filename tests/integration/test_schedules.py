"""Schedules: every tick once, whoever rings and however many."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection, connections
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

import messages
from i3tasks_django import scheduling, store, task
from i3tasks_django.maintenance import maintain
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskSchedule, TaskScheduleTick
from i3tasks_django.scheduling import _declared, fire_due, fire_now
from i3tasks_django.store.schedules import edit
from i3tasks_django.types import Schedule

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

EVERY_MINUTE = Schedule("project.tasks", "log_sent", "* * * * *", ["tick"])


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch):
    """Rows of another test have the same ids."""
    monkeypatch.setattr("i3tasks_django.scheduling._reported", set())


def clock_stands(since: timedelta, schedule: TaskSchedule | None = None) -> None:
    """The beats were away: the next tick was due so long ago."""
    row = schedule or TaskSchedule.objects.get()
    TaskSchedule.objects.filter(pk=row.pk).update(next_run_at=next_tick(row, store.database_now() - since))


def nobody_declared(row: TaskSchedule, since: timedelta) -> None:
    """No process that knows the schedule has been running for so long."""
    TaskSchedule.objects.filter(pk=row.pk).update(declared_at=store.database_now() - since)


def next_tick(row: TaskSchedule, after: datetime) -> datetime:
    from i3tasks_core.schedule import Cron

    return Cron(row.cron, row.timezone).following(after)


@pytest.fixture
def schedule(i3tasks):
    """Puts schedules into the settings and declares them; the row of the first."""

    def put(*schedules: Schedule) -> TaskSchedule:
        i3tasks(schedules=schedules)
        _declared()  # and not fire_due(): a second may begin meanwhile
        return TaskSchedule.objects.get(key=schedules[0].key)

    return put


def test_a_schedule_of_the_settings_becomes_a_row_that_is_due_at_its_next_tick(schedule):
    row = schedule(EVERY_MINUTE)

    now = store.database_now()
    assert now < row.next_run_at <= now + timedelta(minutes=1)
    assert (row.key, row.source, row.timezone) == (EVERY_MINUTE.key, "settings", "America/Chicago")
    assert fire_due() == 0
    assert messages.called() == []


def test_a_tick_calls_the_task_with_its_arguments(schedule):
    row = schedule(EVERY_MINUTE)
    clock_stands(timedelta(seconds=59))
    due_at = TaskSchedule.objects.get().next_run_at
    TaskSchedule.objects.update(next_run_at=due_at - timedelta(minutes=1))

    assert fire_due() == 1
    assert fire_due() == 0

    messages.deliver_all()
    assert messages.called() == ["log_sent success 'tick'"]
    tick = TaskScheduleTick.objects.get()
    assert tick.task_execution == TaskExecution.objects.get()
    assert TaskSchedule.objects.get().next_run_at == next_tick(row, tick.tick_at)


@pytest.mark.parametrize(("misfire", "runs"), [("latest", 1), ("all", 60), ("skip", 0)])
def test_after_an_hour_without_a_beat_the_misfire_policy_decides(schedule, misfire, runs):
    row = schedule(Schedule("project.tasks", "nothing", "0 * * * * 30", misfire=misfire))
    row = schedule(Schedule("project.tasks", "nothing", "* * * * * 0", name="minutely", misfire=misfire))
    # Half a minute after the last tick, so that none of the sixty is fresh.
    now = store.database_now()
    second = (now - timedelta(seconds=30)).second
    edit(row, cron=f"* * * * * {second}")
    row.refresh_from_db()
    clock_stands(timedelta(hours=1), row)

    fired = fire_due()

    assert fired in ({runs} if runs != 60 else {60, 61})
    assert fire_due() == 0
    assert TaskSchedule.objects.get(pk=row.pk).next_run_at > now


def test_all_missed_ticks_come_in_batches(schedule):
    row = schedule(Schedule("project.tasks", "nothing", "* * * * * *", misfire="all"))
    clock_stands(timedelta(seconds=250), row)

    fired = fire_due()
    while more := fire_due():
        fired += more
        if fired > 260:
            break

    ticks = list(TaskScheduleTick.objects.order_by("tick_at").values_list("tick_at", flat=True))
    assert len(ticks) >= 250
    assert {after - before for before, after in pairwise(ticks)} == {timedelta(seconds=1)}


def test_ticks_that_are_a_little_late_are_fired_one_by_one(schedule):
    row = schedule(Schedule("project.tasks", "nothing", "* * * * * *"))
    clock_stands(timedelta(seconds=5), row)

    assert 5 <= fire_due() <= 15


def test_an_overlapping_run_is_passed_by_if_the_schedule_says_so(schedule):
    row = schedule(Schedule("project.tasks", "nothing", "* * * * * *", overlap="skip"))
    clock_stands(timedelta(seconds=3), row)
    assert fire_due() == 1
    clock_stands(timedelta(seconds=1), row)

    assert fire_due() == 0
    messages.deliver_all()
    TaskScheduleTick.objects.update(tick_at=F("tick_at") - timedelta(hours=1))
    clock_stands(timedelta(seconds=1), row)
    assert fire_due() == 1


def test_what_follows_a_task_follows_its_scheduled_calls(schedule):
    row = schedule(Schedule("project.tasks", "send", "* * * * * *", kwargs={"text": "good morning"}))
    clock_stands(timedelta(seconds=1), row)
    fire_due()
    messages.deliver_all()

    assert "send success 'good morning'" in messages.called()
    assert "log_sent success 'sent'" in messages.called()


def test_a_schedule_may_name_a_queue_of_its_own(schedule):
    row = schedule(Schedule("project.tasks", "nothing", "* * * * * *", queue_name="heavy"))
    clock_stands(timedelta(seconds=1), row)
    fire_due()

    assert set(TaskExecution.objects.values_list("queue_name", flat=True)) == {"heavy"}


def test_an_edit_in_the_settings_plans_anew_and_a_pause_stays(schedule):
    row = schedule(Schedule("project.tasks", "nothing", "0 0 1 1 *", name="yearly"))
    TaskSchedule.objects.update(is_enabled=False)
    same = schedule(Schedule("project.tasks", "nothing", "0 0 1 1 *", name="yearly"))
    assert (same.version, same.is_enabled) == (row.version, False)

    edited = schedule(Schedule("project.tasks", "nothing", "0 0 1 2 *", name="yearly"))

    assert (edited.pk, edited.version, edited.is_enabled) == (row.pk, row.version + 1, False)
    assert edited.next_run_at.astimezone(UTC).month == 2


def test_a_paused_schedule_does_not_fire(schedule):
    row = schedule(EVERY_MINUTE)
    clock_stands(timedelta(minutes=2), row)
    TaskSchedule.objects.update(is_enabled=False)

    assert fire_due() == 0


def test_a_tick_planned_by_an_old_version_does_not_fire(schedule):
    row = schedule(EVERY_MINUTE)
    assert edit(row, cron="0 0 1 1 *")

    assert not edit(row, cron="* * * * *")
    assert not store.move_on(row, row.next_run_at + timedelta(minutes=1))
    row.refresh_from_db()
    assert (row.version, row.cron) == (2, "0 0 1 1 *")


def test_a_plan_from_before_an_edit_fires_nothing(schedule):
    """Also when the edit has come to the very tick that was planned: after a clock was put back, say."""
    planned = schedule(Schedule("project.tasks", "log_sent", "0 0 1 1 *", ["tick"]))
    assert edit(TaskSchedule.objects.get(), task_args=["something else"])
    assert TaskSchedule.objects.get().next_run_at == planned.next_run_at

    assert not store.move_on(planned, planned.next_run_at + timedelta(days=1))
    assert TaskSchedule.objects.get().next_run_at == planned.next_run_at


def test_rows_of_other_releases_are_left_to_them_until_nobody_declares_them(schedule):
    old = schedule(Schedule("project.tasks", "nothing", "* * * * *", name="old"))
    schedule(EVERY_MINUTE)
    clock_stands(timedelta(minutes=2), old)
    assert fire_due() == 0
    assert TaskSchedule.objects.count() == 2

    clock_stands(timedelta(days=2), old)
    nobody_declared(old, timedelta(hours=23))
    schedule(Schedule("project.tasks", "nothing", "0 0 * * *"))
    assert TaskSchedule.objects.filter(key="old").exists()
    nobody_declared(old, timedelta(hours=25))
    schedule(EVERY_MINUTE)
    assert not TaskSchedule.objects.filter(key="old").exists()


@pytest.mark.parametrize("cron", ["* * * * *", "0 0 1 1 *"])
def test_what_is_gone_from_the_settings_goes_paused_or_not_and_its_calls_stay(schedule, cron):
    old = schedule(Schedule("project.tasks", "nothing", cron, name="old"))
    fire_now(old)
    TaskSchedule.objects.update(is_enabled=False)
    nobody_declared(old, timedelta(days=2))

    schedule(EVERY_MINUTE)

    assert [row.key for row in TaskSchedule.objects.all()] == [EVERY_MINUTE.key]
    assert TaskExecution.objects.get().task_name == "nothing"
    assert not schedule(Schedule("project.tasks", "nothing", cron, name="old")).ticks.exists()


def test_a_persons_schedule_is_declared_by_nobody_and_stays(schedule):
    row = schedule(EVERY_MINUTE)
    TaskSchedule.objects.update(source="admin", key="mine")
    nobody_declared(row, timedelta(days=400))

    schedule(EVERY_MINUTE)

    assert TaskSchedule.objects.count() == 2


class TestAProcessThatRunsForDays:
    @pytest.fixture
    def later(self, monkeypatch):
        """Another minute, and a pass."""
        monkeypatch.setattr(scheduling, "DECLARE_EVERY", 0.0)
        return fire_due

    def test_keeps_its_paused_schedules(self, schedule, later):
        row = schedule(EVERY_MINUTE)
        TaskSchedule.objects.update(is_enabled=False)
        nobody_declared(row, timedelta(days=2))

        later()

        row.refresh_from_db()
        assert store.database_now() - row.declared_at < timedelta(minutes=1)

    def test_writes_nothing_while_there_is_nothing_to_say(self, schedule, later):
        schedule(EVERY_MINUTE)
        clock_stands(timedelta(seconds=-30))

        with CaptureQueriesContext(connection) as queries:
            later()

        assert not [query for query in queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))]

    def test_leaves_an_edit_of_a_release_that_started_later(self, schedule, later):
        row = schedule(EVERY_MINUTE)
        assert edit(row, cron="0 0 1 1 *")

        later()

        row.refresh_from_db()
        assert (row.cron, row.version) == ("0 0 1 1 *", 2)

    def test_leaves_the_rows_that_a_release_made_meanwhile(self, schedule, later):
        row = schedule(EVERY_MINUTE)
        TaskSchedule.objects.filter(pk=row.pk).update(key="theirs")
        clock_stands(timedelta(minutes=2), row)

        assert later() == 0

        assert {row.key for row in TaskSchedule.objects.all()} == {"theirs", EVERY_MINUTE.key}

    def test_takes_over_when_a_person_deletes_the_schedule_of_its_name(self, schedule, later, caplog):
        row = schedule(EVERY_MINUTE)
        TaskSchedule.objects.update(source="admin")
        later()
        later()
        assert caplog.text.count("schedule_broken") == 1

        row.delete()
        later()

        assert TaskSchedule.objects.get().source == "settings"

    def test_leaves_the_schedule_that_a_person_has_made_of_its_name(self, schedule, later):
        row = schedule(EVERY_MINUTE)
        row.delete()
        TaskSchedule.objects.create(
            key=EVERY_MINUTE.key, task_path="project.tasks", task_name="nothing", cron="0 0 1 1 *",
            timezone="UTC", next_run_at=row.next_run_at,
        )  # fmt: skip

        later()

        assert TaskSchedule.objects.get().task_name == "nothing"


def test_a_decorated_task_is_scheduled(schedule):
    @task(cron="0 3 * * *", timezone="Europe/Rome")
    def every_night():
        return "done"

    try:
        schedule(EVERY_MINUTE)
        row = TaskSchedule.objects.get(source="code")
        assert (row.task_name.rpartition(".")[2], row.cron, row.timezone) == (
            "every_night",
            "0 3 * * *",
            "Europe/Rome",
        )
    finally:
        from i3tasks_django import task as _  # noqa: F401
        from i3tasks_django.task import _known

        del _known[every_night.definition.path, every_night.definition.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cron": "never"}, "has 1 fields: write five fields"),
        ({"cron": "* * * * *", "timezone": "Rome"}, "there is no time zone 'Rome'"),
        ({"timezone": "Europe/Rome"}, "without a cron"),
    ],
)
def test_a_wrong_clock_is_refused_where_it_is_written(options, message):
    with pytest.raises((ValueError, TypeError), match=message):

        @task(**options)
        def nobody(): ...


def test_a_scheduled_task_must_need_no_arguments():
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):

        @task(cron="* * * * *")
        def needy(a): ...


def test_a_call_at_once_is_a_tick_too(schedule):
    row = schedule(EVERY_MINUTE)
    made = fire_now(row)
    messages.deliver_all()

    assert messages.called() == ["log_sent success 'tick'"]
    assert TaskScheduleTick.objects.get().task_execution_id == made.id


def test_a_schedule_that_cannot_be_read_keeps_no_other(schedule, caplog):
    row = schedule(EVERY_MINUTE, Schedule("project.tasks", "nothing", "* * * * * *"))
    TaskSchedule.objects.filter(pk=row.pk).update(cron="nonsense", next_run_at=store.database_now())
    clock_stands(timedelta(seconds=2), TaskSchedule.objects.exclude(pk=row.pk).get())

    assert fire_due() >= 2
    assert "schedule_broken" in caplog.text


def test_a_clock_that_was_put_back_fires_no_tick_twice(schedule):
    row = schedule(Schedule("project.tasks", "nothing", "* * * * * *"))
    clock_stands(timedelta(seconds=4), row)
    first = fire_due()
    TaskSchedule.objects.update(next_run_at=F("next_run_at") - timedelta(seconds=3))

    second = fire_due()

    ticks = list(TaskScheduleTick.objects.values_list("tick_at", flat=True))
    assert len(ticks) == len(set(ticks)) == TaskExecution.objects.count() == first + second


def test_many_beats_at_once_fire_each_tick_once(schedule):
    row = schedule(
        *[Schedule("project.tasks", "nothing", "* * * * * *", name=f"s{n}", misfire="all") for n in range(20)]
    )
    for other in TaskSchedule.objects.all():
        clock_stands(timedelta(seconds=6), other)
    barrier, counts = threading.Barrier(4), []

    def beat():
        try:
            barrier.wait(10)
            counts.append(fire_due())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert row.pk
    ticks = list(TaskScheduleTick.objects.values_list("schedule", "tick_at"))
    assert len(ticks) == len(set(ticks)) == sum(counts) == TaskExecution.objects.count()
    for other in TaskSchedule.objects.all():
        times = sorted(at for schedule_id, at in ticks if schedule_id == other.pk)
        assert {b - a for a, b in pairwise(times)} == {timedelta(seconds=1)}


def test_the_endpoint_fires_an_every_minute_schedule_once_a_minute(schedule):
    row = schedule(EVERY_MINUTE)
    clock_stands(timedelta(seconds=60), row)
    due_at = TaskSchedule.objects.get().next_run_at
    if due_at > store.database_now():
        TaskSchedule.objects.update(next_run_at=due_at - timedelta(minutes=1))

    answers = [Client().post("/i3/tasks-beat/").json() for _ in range(30)]

    assert sum(answer["fired"] for answer in answers) in (1, 2)  # two, if a minute has just begun
    assert TaskScheduleTick.objects.count() == sum(answer["fired"] for answer in answers)
    assert answers[-1].keys() == {"status", "fired", "published", "rescued"}


def test_a_pass_with_nothing_due_is_three_queries(schedule):
    schedule(*[Schedule("project.tasks", "nothing", "0 0 1 1 *", name=f"s{n}") for n in range(50)])
    maintain()

    with CaptureQueriesContext(connection) as queries:
        maintain()

    assert len(queries) <= 3, [query["sql"] for query in queries]


def test_a_rolled_back_tick_is_due_again(schedule, monkeypatch):
    row = schedule(EVERY_MINUTE)
    clock_stands(timedelta(minutes=3), row)
    before = TaskSchedule.objects.get().next_run_at
    monkeypatch.setattr(store, "record_ticks", lambda _fired: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fire_due()

    assert TaskSchedule.objects.get().next_run_at == before
    assert not TaskExecutionTry.objects.exists()


class TestRowsThatAreInTheWay:
    def test_very_many_unreadable_rows_keep_no_other(self, schedule):
        row = schedule(EVERY_MINUTE)
        past = store.database_now() - timedelta(minutes=5)
        TaskSchedule.objects.bulk_create(
            TaskSchedule(
                key=f"broken {n}", task_path="a", task_name="b", cron="no", timezone="UTC", next_run_at=past
            )
            for n in range(120)
        )
        clock_stands(timedelta(minutes=2), row)

        assert fire_due() == 1

    def test_a_persons_schedule_of_the_same_name_stays(self, schedule, caplog):
        other = schedule(EVERY_MINUTE)
        TaskSchedule.objects.create(
            key="mine", task_path="project.tasks", task_name="nothing", cron="0 0 1 1 *", timezone="UTC",
            next_run_at=other.next_run_at,
        )  # fmt: skip

        row = schedule(Schedule("project.tasks", "log_sent", "* * * * *", name="mine"))

        assert (row.source, row.task_name) == ("admin", "nothing")
        assert "schedule_broken" in caplog.text

    def test_a_paused_row_is_not_forgotten(self, schedule):
        old = schedule(Schedule("project.tasks", "nothing", "* * * * *", name="old"))
        clock_stands(timedelta(days=9), old)
        TaskSchedule.objects.update(is_enabled=False)
        schedule(EVERY_MINUTE)

        assert not schedule(Schedule("project.tasks", "nothing", "* * * * *", name="old")).is_enabled

    def test_an_unreadable_row_can_be_paused(self, schedule):
        row = schedule(EVERY_MINUTE)
        TaskSchedule.objects.update(cron="no")
        row.refresh_from_db()

        assert edit(row, is_enabled=False)

    def test_calls_at_once_may_come_in_the_same_instant(self, schedule, monkeypatch):
        row = schedule(EVERY_MINUTE)
        now = store.database_now()
        monkeypatch.setattr("i3tasks_django.store.tick.database_now", lambda: now)

        fire_now(row)
        fire_now(row)
        assert TaskScheduleTick.objects.count() == 2

    def test_a_run_before_the_last_one_counts_as_running(self, schedule):
        row = schedule(Schedule("project.tasks", "nothing", "* * * * * *", overlap="skip"))
        clock_stands(timedelta(seconds=2), row)
        assert fire_due() == 1
        TaskScheduleTick.objects.update(tick_at=F("tick_at") - timedelta(hours=1))
        made = fire_now(row)
        TaskExecution.objects.filter(pk=made.id).update(state="success")
        clock_stands(timedelta(seconds=2), row)

        assert fire_due() == 0


class TestWhatWasBrokenOnce:
    @pytest.mark.parametrize("args", [[("a", "b")], [{"k": (1, 2)}], [1e300], [1e23]])
    def test_a_new_process_finds_the_row_as_it_was_left(self, schedule, i3tasks, args):
        row = schedule(Schedule("project.tasks", "log_sent", "* * * * *", args, name="n"))
        clock_stands(timedelta(minutes=1), row)

        again = Schedule("project.tasks", "log_sent", "* * * * *", args, name="n")
        i3tasks(schedules=[again])

        assert fire_due() == 1
        row.refresh_from_db()
        assert row.version == 1

    def test_a_schedule_whose_task_is_another_releases_is_left_to_it(self, schedule, caplog):
        row = schedule(EVERY_MINUTE)
        TaskSchedule.objects.filter(pk=row.pk).update(
            task_name="only_there", next_run_at=store.database_now()
        )
        before = TaskSchedule.objects.get().next_run_at

        assert fire_due() == 0
        assert fire_due() == 0
        assert TaskSchedule.objects.get().next_run_at == before
        assert caplog.text.count("schedule_broken") == 1

    def test_arguments_that_are_null_keep_no_other_schedule(self, schedule):
        row = schedule(EVERY_MINUTE, Schedule("project.tasks", "nothing", "* * * * * *"))
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {TaskSchedule._meta.db_table} SET task_args = 'null' WHERE id = %s", [row.pk]
            )
        for one in TaskSchedule.objects.all():
            clock_stands(timedelta(seconds=61), one)

        assert fire_due() >= 1

    def test_a_part_of_a_pass_that_fails_keeps_no_other(self, monkeypatch):
        done = []
        monkeypatch.setattr("i3tasks_django.maintenance.fire_due", lambda: 1 / 0)
        monkeypatch.setattr("i3tasks_django.maintenance.relay", lambda: done.append("relay") or 0)
        with pytest.raises(ZeroDivisionError):
            maintain()

        assert done == ["relay"]
