"""What ended long ago goes, unless something live may still ask about it; whoever is at a row keeps it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, connections, models
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

import messages
from i3tasks_core import identifiers
from i3tasks_django import ChainHandle, chain, group, maintenance, store
from i3tasks_django.maintenance import Cleaner, maintain
from i3tasks_django.models import (
    TaskExecution,
    TaskExecutionResult,
    TaskExecutionTry,
    TaskGroup,
    TaskSchedule,
    TaskScheduleTick,
)
from i3tasks_django.scheduling import fire_due, fire_now
from i3tasks_django.store import Cleaned, broom
from i3tasks_django.types import Schedule
from project import tasks

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")

MONTH = timedelta(days=30)
LONG_AGO = timedelta(days=40)


@pytest.fixture(autouse=True)
def forty_days_ago(monkeypatch):
    """Ids are made, and so calls begin, forty days ago; how long ago they end is up to the test."""
    shift = LONG_AGO // timedelta(microseconds=1) * 1_000
    monkeypatch.setattr(identifiers, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - shift))


@pytest.fixture(autouse=True)
def no_link_leads_nowhere(database):
    yield
    connection.check_constraints()


def age(by=timedelta(days=35)):
    """What has ended did so that long ago."""
    for stage in (TaskExecution, TaskGroup):
        stage.objects.filter(finished_at__isnull=False).update(finished_at=Now() - by)


def clean(older_than=MONTH, **options) -> Cleaned:
    return sum(store.clean(older_than, **options), Cleaned())


def left() -> list[str]:
    return [row.task_name for row in TaskExecution.objects.order_by("pk")]


def ended(call):
    messages.deliver(call)
    return call


class TestAnExecution:
    def test_that_ended_long_ago_goes_with_all_that_belongs_to_it(self):
        ended(tasks.add.delay(1, 2))
        ended(tasks.fail_for_good.delay())
        tasks.nothing.delay().cancel()
        age()

        done = clean()

        assert done.executions == {"success": 1, "failed": 1, "cancelled": 1}
        assert done.count == 3
        for model in (TaskExecution, TaskExecutionTry, TaskExecutionResult):
            assert not model.objects.exists()

    def test_that_is_pending_stays_however_old(self):
        tasks.nothing.delay()
        store.claim([messages.envelope_of(tasks.add.delay(1, 2))], lease=timedelta(minutes=1), worker="w")
        messages.deliver(tasks.fail.delay())  # its retry waits
        TaskExecutionTry.objects.update(asked_at=Now() - LONG_AGO)
        messages.deliver(tasks.fail_for_good.delay())
        age()
        store.reopen(TaskExecution.objects.get(task_name="fail_for_good").pk)
        before = left()

        assert clean().count == 0
        assert left() == before

    def test_that_began_long_ago_and_ended_lately_stays(self):
        ended(tasks.nothing.delay())
        age(timedelta(days=29))

        assert clean().count == 0
        assert left() == ["nothing"]

    def test_whose_successor_is_pending_stays_and_goes_with_it_later(self):
        steps = chain(tasks.add.s(1, 2), tasks.add.s(3, 4), tasks.log_sent.s("last")).delay()
        ended(steps)
        ended(ChainHandle(TaskExecution.objects.latest("pk").pk))
        age()

        assert clean().executions == {"success": 1}
        assert left() == ["add", "log_sent"]

        messages.deliver_all()
        age()
        assert clean().executions == {"success": 2}
        assert left() == []

    def test_whose_successor_is_an_unfinished_group_stays(self):
        chain(tasks.nothing, group(tasks.add.s(1, 2), tasks.add.s(3, 4))).delay()
        ended(ChainHandle(TaskExecution.objects.get().pk))
        TaskExecution.objects.filter(task_name="add").update(state="cancelled", finished_at=Now())
        age()

        assert clean().count == 0

    def test_leaves_a_younger_successor_that_follows_nothing_any_more(self):
        chain(tasks.nothing, tasks.add.s(1, 2)).delay()
        messages.deliver_all()
        age()
        TaskExecution.objects.filter(task_name="add").update(finished_at=Now())

        assert clean().count == 1
        assert TaskExecution.objects.get().chained_from is None


class TestAGroup:
    def test_goes_with_its_members_and_what_followed_it(self):
        group(tasks.add.s(1, 2), tasks.add.s(3, 4)).then(tasks.look_around).delay()
        messages.deliver_all()
        age()

        done = clean()

        assert (done.executions.total(), done.group_count) == (3, 1)
        assert left() == []
        assert not TaskGroup.objects.exists()

    def test_that_has_not_finished_keeps_its_members(self):
        group(tasks.add.s(1, 2), tasks.nothing).delay()
        ended(ChainHandle(TaskExecution.objects.earliest("pk").pk))
        age()

        assert clean().count == 0

    def test_whose_step_is_pending_keeps_its_members(self):
        made = TaskGroup.create(callback=tasks.look_around, total_count=1)
        ended(tasks.add.delay(1, 2, __i3group__=made))
        age()

        assert clean().count == 0
        messages.deliver_all()
        assert made.results() == [3]

    def test_whose_step_is_a_group_that_is_not_finished_keeps_its_members(self):
        made = TaskGroup.create(callback=group(tasks.nothing, tasks.nothing), total_count=1)
        ended(tasks.add.delay(1, 2, __i3group__=made))
        age()

        assert clean().count == 0

    def test_that_is_part_of_one_that_has_not_finished_keeps_its_members(self):
        inner = group(tasks.add.s(1, 2), tasks.add.s(3, 4))
        group(group(inner), tasks.nothing).then(tasks.look_around).delay()
        for row in TaskExecution.objects.filter(task_name="add"):
            ended(ChainHandle(row.pk))
        age()

        assert clean().count == 0
        messages.deliver_all()
        result = TaskExecution.objects.get(task_name="look_around").tries.get().result.result
        assert result["group"][2] == [[[3, 7]], None]

    def test_that_finished_lately_keeps_its_members(self):
        group(tasks.add.s(1, 2)).delay()
        messages.deliver_all()
        age()
        TaskGroup.objects.update(finished_at=Now())

        assert clean().count == 0

    def test_stays_while_a_member_does(self):
        made = group(tasks.fail_for_good, tasks.add.s(1, 2)).delay()
        messages.deliver_all()
        age()
        store.reopen(TaskExecution.objects.get(task_name="fail_for_good").pk)

        done = clean()

        assert (done.executions, done.group_count) == ({"success": 1}, 0)
        assert TaskExecution.objects.get().task_group == made

    def test_leaves_a_younger_step_that_follows_nothing_any_more(self):
        group(tasks.nothing).then(tasks.look_around).delay()
        messages.deliver_all()
        age()
        TaskExecution.objects.filter(task_name="look_around").update(finished_at=Now())

        assert clean().group_count == 1
        assert TaskExecution.objects.get().joins_group is None

    def test_within_groups_goes_in_one_pass(self):
        chain(group(group(group(tasks.nothing)), group()), tasks.nothing).delay()
        messages.deliver_all()
        age()

        assert clean(batch_size=1).group_count == 4
        assert not TaskGroup.objects.exists()


class TestTicks:
    @pytest.fixture
    def schedules(self, i3tasks):
        names = ("first", "second")
        i3tasks(schedules=[Schedule("project.tasks", "nothing", "0 0 1 1 *", name=name) for name in names])
        fire_due()
        rows = [TaskSchedule.objects.get(key=name) for name in names]
        for _ in range(3):
            for row in rows:
                fire_now(row)
        messages.deliver_all()
        TaskScheduleTick.objects.update(fired_at=F("fired_at") - LONG_AGO, tick_at=F("tick_at") - LONG_AGO)
        return rows

    def test_go_but_for_the_last_of_each_schedule(self, schedules):
        last = {row.ticks.latest("tick_at").pk for row in schedules}

        assert clean(batch_size=2).tick_count == 4
        assert set(TaskScheduleTick.objects.values_list("pk", flat=True)) == last

    def test_that_fired_lately_stay(self, schedules):
        TaskScheduleTick.objects.update(fired_at=Now())

        assert clean().tick_count == 0

    def test_whose_call_is_pending_stay(self, schedules):
        first = TaskScheduleTick.objects.earliest("pk")
        TaskExecution.objects.filter(pk=first.task_execution_id).update(state="pending", finished_at=None)

        assert clean().tick_count == 3
        assert TaskScheduleTick.objects.filter(pk=first.pk).exists()

    def test_that_stay_forget_a_call_that_goes(self, schedules):
        age()

        assert clean().executions == {"success": 6}
        assert set(TaskScheduleTick.objects.values_list("task_execution", flat=True)) == {None}


def many_of_everything():
    """Chains, groups and single calls, some of them still going on."""
    for number in range(4):
        chain(tasks.nothing, tasks.add.s(number, 2), tasks.log_sent.s("end")).delay()
        group(group(tasks.nothing), group(tasks.break_down.s("x")), on_failure=tasks.nothing).delay()
    messages.deliver_all()
    group(group(tasks.nothing, tasks.add.s(1, 2))).then(tasks.look_around).delay()
    last = chain(tasks.nothing, tasks.add.s(0, 2)).delay()
    messages.deliver(last)
    age()
    reopened = TaskExecution.objects.filter(task_name="break_down").earliest("pk")
    store.reopen(reopened.pk)


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_a_dry_run_counts_what_would_go_and_changes_nothing(batch_size):
    many_of_everything()
    before = left()

    counted = clean(dry_run=True, batch_size=batch_size)

    assert left() == before
    # Of the first failed group the outer and the inner one stay with the member that a person has reopened.
    assert counted == Cleaned(executions={"success": 12 + 4 + 4, "failed": 3}, group_count=12 - 2)
    assert clean(batch_size=batch_size) == counted
    assert clean(batch_size=batch_size).count == 0


def test_with_nothing_to_delete_it_is_one_query(monkeypatch):
    monkeypatch.setattr(identifiers, "time", time)
    many_of_everything()

    with CaptureQueriesContext(connection) as queries:
        assert clean().count == 0
    assert len(queries) == 1


def test_each_batch_is_a_transaction_of_its_own():
    for _ in range(5):
        ended(tasks.nothing.delay())
    age()

    batches = store.clean(MONTH, batch_size=2)

    assert next(batches).count == 2
    assert not connection.in_atomic_block
    assert len(left()) == 3
    assert [cleaned.count for cleaned in batches] == [2, 1]


class TestTheCommand:
    def run(self, *options):
        out = StringIO()
        call_command("i3tasks_clean", *options, stdout=out)
        return [line.split() for line in out.getvalue().splitlines()]

    def test_tells_what_is_gone(self):
        many_of_everything()

        assert self.run("--days", "30", "--dry-run") == [
            ["20", "executions", "would", "be", "deleted:", "success"],
            ["3", "executions", "would", "be", "deleted:", "failed"],
            ["0", "executions", "would", "be", "deleted:", "cancelled"],
            ["10", "groups", "would", "be", "deleted"],
            ["0", "schedule", "ticks", "would", "be", "deleted"],
        ]
        assert self.run("--days", "30", "--batch-size", "3") == [
            ["20", "executions", "deleted:", "success"],
            ["3", "executions", "deleted:", "failed"],
            ["0", "executions", "deleted:", "cancelled"],
            ["10", "groups", "deleted"],
            ["0", "schedule", "ticks", "deleted"],
        ]

    def test_takes_the_age_from_the_settings(self, i3tasks):
        ended(tasks.nothing.delay())
        age()

        i3tasks(autoclean_older_than=timedelta(days=36))
        assert self.run()[0][0] == "0"
        i3tasks(autoclean_older_than=timedelta(days=34))
        assert self.run()[0][0] == "1"

    def test_without_an_age_says_what_to_write(self):
        with pytest.raises(CommandError, match="Write --days N, or autoclean_older_than="):
            self.run()

    @pytest.mark.parametrize("options", [("--days", "-1"), ("--days", "40000"), ("--batch-size", "0")])
    def test_refuses_a_number_that_makes_no_sense(self, options):
        with pytest.raises(CommandError, match=f"{options[0]} is {options[1]}: write a whole number"):
            self.run("--days", "30", *options)

    def test_zero_days_is_everything_that_has_ended(self):
        ended(tasks.nothing.delay())
        tasks.add.delay(1, 2)

        self.run("--days", "0")

        assert left() == ["add"]


class TestAPass:
    @pytest.fixture(autouse=True)
    def ten_that_are_old(self):
        for _ in range(10):
            ended(tasks.nothing.delay())
        age()

    @pytest.fixture
    def clock(self, monkeypatch):
        """Stands still but for what a test adds."""
        clock = SimpleNamespace(now=1_000.0)
        monkeypatch.setattr(maintenance, "time", SimpleNamespace(monotonic=lambda: clock.now))
        return clock

    def test_deletes_nothing_unless_the_settings_ask_for_it(self):
        assert maintain().cleaned_count == 0
        assert len(left()) == 10

    def test_deletes_what_the_settings_call_old(self, i3tasks):
        i3tasks(autoclean_older_than=MONTH)

        assert maintain().cleaned_count == 10
        assert left() == []

    def test_deletes_once_a_minute(self, i3tasks, clock):
        i3tasks(autoclean_older_than=timedelta(days=36))
        cleaner = Cleaner()
        assert maintain(cleaner=cleaner).cleaned_count == 0
        i3tasks(autoclean_older_than=MONTH)

        clock.now += 59
        assert maintain(cleaner=cleaner).cleaned_count == 0
        clock.now += 1
        assert maintain(cleaner=cleaner).cleaned_count == 10

    def test_stops_after_two_seconds_and_goes_on_there_a_minute_later(self, i3tasks, clock, monkeypatch):
        i3tasks(autoclean_older_than=MONTH)
        cleaner, real = Cleaner(), store.clean

        def slow(older_than):
            for cleaned in real(older_than, batch_size=1):
                clock.now += 0.5
                yield cleaned

        monkeypatch.setattr(store, "clean", slow)
        assert cleaner.clean() == 5
        clock.now += 60
        assert cleaner.clean() == 5
        clock.now += 60
        assert cleaner.clean() == 0
        assert left() == []

    def test_that_fails_to_delete_does_so_no_more_than_once_a_minute(self, i3tasks, clock, monkeypatch):
        i3tasks(autoclean_older_than=MONTH)
        cleaner, real = Cleaner(), store.clean

        def fail(older_than):
            raise ValueError("no luck")

        monkeypatch.setattr(store, "clean", fail)
        with pytest.raises(ValueError, match="no luck"):
            cleaner.clean()
        monkeypatch.setattr(store, "clean", real)
        assert cleaner.clean() == 0
        clock.now += 60
        assert cleaner.clean() == 10


@contextmanager
def table_of(*models):
    """The tables of these models, until the block ends."""
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)


@pytest.fixture
def model():
    """Makes models of the project's app, which are forgotten when the test ends."""
    before = dict(apps.all_models["project"])

    def make(name, **fields):
        meta = type("Meta", (), {"app_label": "project"})
        return type(name, (models.Model,), {"Meta": meta, "__module__": "project.models", **fields})

    yield make
    apps.all_models["project"].clear()
    apps.all_models["project"].update(before)
    apps.clear_cache()


class TestWhatOtherTablesPointAt:
    @pytest.fixture
    def calls(self):
        made = [ended(tasks.add.delay(number, 1)) for number in range(9)]
        age()
        return [TaskExecution.objects.get(pk=handle.id) for handle in made]

    @pytest.fixture
    def made_by_hand(self, database):
        """A table that Django knows nothing of; pass the calls that its rows point at."""

        def point_at(*calls):
            with connection.cursor() as cursor:
                for call in calls:
                    pk = call.pk if database.vendor == "postgresql" else call.pk.hex
                    cursor.execute("INSERT INTO by_hand VALUES (%s)", [pk])

        kind = "uuid" if database.vendor == "postgresql" else "char(32)"
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TABLE by_hand (call {kind} REFERENCES i3tasks_django_taskexecution (id) "
                "DEFERRABLE INITIALLY DEFERRED)"
            )
        yield point_at
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE by_hand")

    @pytest.mark.parametrize("batch_size", [1, 4, 500])
    def test_stays_and_keeps_no_other(self, model, calls, batch_size):
        report = model("Report", call=models.ForeignKey(TaskExecution, models.PROTECT, related_name="+"))
        with table_of(report):
            for call in (calls[0], calls[4]):
                report.objects.create(call=call)

            counted = clean(dry_run=True, batch_size=batch_size)

            assert counted == clean(batch_size=batch_size)
            assert counted == Cleaned(executions={"success": 7}, kept_count=2)
            assert clean() == Cleaned(kept_count=2)
            report.objects.all().delete()
            assert clean() == Cleaned(executions={"success": 2})

    def test_stays_also_where_a_try_or_a_result_is_pointed_at(self, model, calls):
        last = model("Last", run=models.OneToOneField(TaskExecutionTry, models.CASCADE))
        kept = model("Kept", result=models.ForeignKey(TaskExecutionResult, models.CASCADE))
        with table_of(last, kept):
            last.objects.create(run=calls[1].tries.get())
            kept.objects.create(result=calls[2].tries.get().result)

            assert clean() == Cleaned(executions={"success": 7}, kept_count=2)
            assert {row.pk for row in TaskExecution.objects.all()} == {calls[1].pk, calls[2].pk}

    def test_stays_where_many_point_at_many(self, model, calls):
        album = model("Album", calls=models.ManyToManyField(TaskExecution, related_name="+"))
        with table_of(album):
            album.objects.create().calls.add(*calls[:3])

            assert clean() == Cleaned(executions={"success": 6}, kept_count=3)

    def test_goes_where_the_key_is_no_constraint(self, model, calls):
        note = model("Note", call=models.ForeignKey(TaskExecution, models.DO_NOTHING, db_constraint=False))
        with table_of(note):
            note.objects.create(call=calls[0])

            assert clean() == Cleaned(executions={"success": 9})
            note.objects.all().delete()

    def test_is_a_group_of_which_the_members_go(self, model):
        made = group(tasks.add.s(1, 2)).delay()
        messages.deliver_all()
        age()
        album = model("Album", group=models.ForeignKey(TaskGroup, models.PROTECT))
        with table_of(album):
            album.objects.create(group=made)

            assert clean() == Cleaned(executions={"success": 1}, kept_count=1)

    def test_without_django_knowing_stays_and_keeps_no_other(self, calls, made_by_hand):
        made_by_hand(calls[0], calls[4], calls[8])

        assert clean() == Cleaned(executions={"success": 6}, kept_count=3)
        assert {row.pk for row in TaskExecution.objects.all()} == {calls[0].pk, calls[4].pk, calls[8].pk}
        assert TaskExecutionTry.objects.count() == TaskExecutionResult.objects.count() == 3
        assert clean() == Cleaned(kept_count=3)

    def test_is_looked_for_in_transactions_of_their_own(self, calls, made_by_hand):
        made_by_hand(calls[0])

        for cleaned in store.clean(MONTH):
            assert not connection.in_atomic_block
            assert cleaned.count < 9
        assert len(left()) == 1

    def test_is_told_once_and_again_when_it_changes(self, calls, made_by_hand, i3tasks, caplog, monkeypatch):
        caplog.set_level("INFO", "i3tasks")
        monkeypatch.setattr(maintenance, "CLEAN_EVERY", 0.0)
        i3tasks(autoclean_older_than=MONTH)
        made_by_hand(calls[0], calls[1])
        cleaner = Cleaner()

        assert cleaner.clean() == 7
        assert cleaner.clean() == 0
        assert caplog.text.count("rows_kept count=2") == 1
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM by_hand")
        assert cleaner.clean() == 2
        assert caplog.text.count("rows_kept") == 2
        assert "rows_kept count=0" in caplog.text

    def test_is_told_by_the_command(self, calls, made_by_hand):
        made_by_hand(*calls)
        out = StringIO()

        call_command("i3tasks_clean", "--days", "30", stdout=out)

        assert "9 rows kept: rows of other tables point at them" in out.getvalue()


class TestTwoAtOnce:
    """PostgreSQL: the one that holds the row wins, and the other changes nothing."""

    @pytest.fixture(autouse=True)
    def postgresql(self, database):
        if database.vendor == "sqlite":
            pytest.skip("SQLite locks the whole database, and its writers wait for each other")

    @contextmanager
    def elsewhere(self):
        """Run statements in a transaction of another connection, which is open until the block ends."""
        other = connections.create_connection("default")
        other.set_autocommit(False)
        try:
            with other.cursor() as cursor:
                yield cursor
            other.commit()
        finally:
            other.close()

    @contextmanager
    def held_within(self, monkeypatch, seconds=0.5):
        """In the block the clean-up waits in its transaction, with the row deleted."""
        is_in, real = threading.Event(), broom._unlink

        def wait(*args):
            if not is_in.is_set():
                is_in.set()
                time.sleep(seconds)
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(broom, "_unlink", wait)
            thread = threading.Thread(target=self.clean_and_close)
            thread.start()
            assert is_in.wait(10)
            yield
            thread.join(20)
            assert not thread.is_alive()

    def clean_and_close(self):
        try:
            clean()
        finally:
            connections.close_all()

    def failed(self, count=1):
        handles = [ended(tasks.fail_for_good.delay()) for _ in range(count)]
        age()
        return handles

    @pytest.mark.timeout(30)
    def test_a_call_that_is_being_reopened_stays(self):
        busy, _ = self.failed(2)
        with self.elsewhere() as cursor:
            cursor.execute(
                "UPDATE i3tasks_django_taskexecution SET state = 'pending', finished_at = NULL WHERE id = %s",
                [busy.id],
            )
            assert clean().executions == {"failed": 1}

        assert [row.pk for row in TaskExecution.objects.all()] == [busy.id]
        assert clean().count == 0
        assert messages.states(busy) == ["failed"]

    @pytest.mark.timeout(30)
    def test_a_call_that_is_being_deleted_is_not_reopened(self, monkeypatch):
        (handle,) = self.failed()
        began_at = time.monotonic()
        with self.held_within(monkeypatch):
            assert store.reopen(handle.id) is None
            assert time.monotonic() - began_at > 0.3

        assert left() == []
        assert not TaskExecutionTry.objects.exists()

    @pytest.mark.timeout(60)
    def test_of_a_reopening_and_a_clean_up_one_wins(self):
        for _ in range(50):
            (handle,) = self.failed()
            cleaner = threading.Thread(target=self.clean_and_close)
            cleaner.start()
            reopened = store.reopen(handle.id)
            cleaner.join(20)

            assert messages.states(handle) == (["failed", "pending"] if reopened else [])
            assert TaskExecution.objects.filter(pk=handle.id).exists() is (reopened is not None)

    @pytest.mark.timeout(30)
    def test_a_step_added_to_a_call_that_is_being_deleted_is_told_so(self, monkeypatch):
        handle = ended(tasks.nothing.delay())
        age()
        with self.held_within(monkeypatch), pytest.raises(TaskExecution.DoesNotExist, match="cleaned up"):
            handle.then(tasks.log_sent)

        assert left() == []

    @pytest.mark.timeout(60)
    def test_of_a_step_that_is_added_and_a_clean_up_one_wins(self):
        for _ in range(25):
            handle = ended(tasks.nothing.delay())
            age()
            cleaner = threading.Thread(target=self.clean_and_close)
            cleaner.start()
            try:
                handle.then(tasks.log_sent)
            except TaskExecution.DoesNotExist:
                expected = []
            else:
                expected = ["nothing", "log_sent"]
            cleaner.join(20)

            assert left() == expected
            messages.deliver_all()
            age()
            clean()
            assert left() == []

    @pytest.mark.timeout(30)
    @pytest.mark.parametrize("stage", ["taskexecution", "taskgroup"])
    def test_what_precedes_a_row_that_somebody_holds_stays(self, stage):
        last = group(tasks.nothing) if stage == "taskgroup" else tasks.log_sent
        chain(tasks.add.s(1, 2), last).delay()
        messages.deliver_all()
        age()
        follower = (TaskGroup if stage == "taskgroup" else TaskExecution).objects.latest("pk")
        with self.elsewhere() as cursor:
            cursor.execute(f"SELECT 1 FROM i3tasks_django_{stage} WHERE id = %s FOR UPDATE", [follower.pk])
            clean()
            assert "add" in left()

        follower.refresh_from_db()
        assert follower.chained_from is not None
        clean()
        assert left() == []

    @pytest.mark.timeout(60)
    def test_two_clean_ups_share_the_rows(self):
        for _ in range(3):
            chain(tasks.nothing, tasks.add.s(1, 2), group(tasks.nothing, tasks.nothing)).delay()
        messages.deliver_all()
        age()
        threads = [threading.Thread(target=self.clean_and_close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        clean()

        assert left() == []
        assert not TaskGroup.objects.exists()
