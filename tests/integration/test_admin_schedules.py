"""The admin shows schedules; people pause, resume and run any of them, and add, edit and delete their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

import messages
from i3tasks_core.masking import MASK
from i3tasks_core.schedule import Cron
from i3tasks_django import store
from i3tasks_django.admin import schedule_actions, schedule_fields
from i3tasks_django.admin.schedules import TaskScheduleAdmin
from i3tasks_django.models import TaskExecution, TaskSchedule, TaskScheduleTick
from i3tasks_django.scheduling import fire_due, fire_now
from i3tasks_django.types import Schedule

SCHEDULES = "/admin/i3tasks_django/taskschedule/"
EVIL = "<script>alert(1)</script>"
WRITTEN = {
    "key": "report",
    "task": "project.tasks:add",
    "task_args": "[1, 2]",
    "task_kwargs": "{}",
    "queue_name": "",
    "cron": "0 3 * * *",
    "timezone": "Europe/Rome",
    "misfire": "latest",
    "overlap": "allow",
    "is_enabled": "on",
}

pytestmark = pytest.mark.usefixtures("silent_pubsub")


@pytest.fixture
def database(either_database):
    return either_database


@pytest.fixture(autouse=True)
def _fresh_content_types(database):
    ContentType.objects.clear_cache()  # their ids are another database's


@pytest.fixture
def client(_fresh_content_types):
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    return browser


def make(key="report", **fields):
    now = store.database_now()
    fields = {
        "task_path": "project.tasks",
        "task_name": "log_sent",
        "cron": "0 3 * * *",
        "timezone": "Europe/Rome",
        "next_run_at": Cron("0 3 * * *", "Europe/Rome").following(now),
    } | fields
    return TaskSchedule.objects.create(key=key, **fields)


def page(row):
    return f"{SCHEDULES}{row.pk}/change/"


def shown(client, address, **query):
    response = client.get(address, query)
    assert response.status_code == 200
    return unescape(response.content.decode())


def listed(client, **query):
    response = client.get(SCHEDULES, query)
    assert response.status_code == 200
    return [row.key for row in response.context_data["cl"].result_list]


def act(client, action, *rows, **more):
    chosen = [str(row.pk) for row in rows]
    return client.post(SCHEDULES, {"action": action, "_selected_action": chosen, **more}, follow=True)


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def history():
    entries = LogEntry.objects.order_by("pk")
    return [(entry.object_repr, entry.get_change_message()) for entry in entries]


def fields_of(client, address, data=None):
    """What the page shows under each label, without its markup."""
    response = client.get(address) if data is None else client.post(address, data)
    assert response.status_code == 200
    return {
        field.field["name"]: str(field.contents())
        for fieldset in response.context_data["adminform"]
        for line in fieldset
        for field in line
        if hasattr(field, "contents")
    }


def errors_of(client, address, data):
    response = client.post(address, data)
    assert response.status_code == 200
    assert "<script>alert" not in response.content.decode()
    return dict(response.context_data["adminform"].form.errors)


def staff(*codenames):
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    browser = Client()
    browser.force_login(user)
    return browser


class Form(HTMLParser):
    """What a browser would send back of a page's form if nobody touched it."""

    def __init__(self, html):
        super().__init__()
        self.values, self._select, self._textarea = {}, None, None
        self.feed(html[html.index("taskschedule_form") :])

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        kind, name = given.get("type"), given.get("name")
        if tag == "input" and kind not in ("submit", "checkbox"):
            self.values[name] = given.get("value", "")
        elif tag == "input" and kind == "checkbox" and "checked" in given:
            self.values[name] = "on"
        elif tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in given or self._select not in self.values):
            self.values[self._select] = given["value"]
        elif tag == "textarea":
            self._textarea, self.values[name] = name, ""

    def handle_endtag(self, tag):
        if tag == "textarea":
            self._textarea = None

    def handle_data(self, data):
        if self._textarea:
            self.values[self._textarea] = (self.values[self._textarea] + data).removeprefix("\n")


def form_of(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return Form(response.content.decode()).values


# The whole way


def test_a_schedule_that_a_person_adds_fires_is_edited_and_deleted(client):
    form = form_of(client, f"{SCHEDULES}add/")
    assert (form["timezone"], form["task_args"], form["is_enabled"]) == (settings.TIME_ZONE, "[]", "on")
    form |= {"key": "hello", "task": "project.tasks:send", "cron": "* * * * * *"}
    form |= {"task_kwargs": '{"text": "Grüße"}', "queue_name": "heavy"}
    before = store.database_now()

    response = client.post(f"{SCHEDULES}add/", form, follow=True)

    row = TaskSchedule.objects.get()
    assert response.redirect_chain == [(SCHEDULES, 302)]
    assert (row.key, row.source, row.full_name) == ("hello", "admin", "project.tasks.send")
    assert (row.task_args, row.task_kwargs, row.queue_name) == ([], {"text": "Grüße"}, "heavy")
    assert before < row.next_run_at <= store.database_now() + timedelta(seconds=1)

    TaskSchedule.objects.update(next_run_at=row.next_run_at - timedelta(seconds=3))
    assert fire_due() >= 1
    messages.deliver_all()
    assert "send success 'Grüße'" in messages.called()
    assert str(TaskExecution.objects.filter(task_name="send")[0].pk) in shown(client, page(row))

    form = form_of(client, page(row))
    assert form["task_kwargs"] == '{"text": "Grüße"}'
    del form["is_enabled"]
    client.post(page(row), form | {"cron": "0 3 * * *", "timezone": "Europe/Rome"})
    edited = TaskSchedule.objects.get()
    assert (edited.version, edited.cron, edited.is_enabled) == (2, "0 3 * * *", False)
    assert edited.next_run_at == Cron("0 3 * * *", "Europe/Rome").following(store.database_now())
    assert edited.task_kwargs == {"text": "Grüße"}

    client.post(f"{SCHEDULES}{row.pk}/delete/", {"post": "yes"})
    assert not TaskSchedule.objects.exists()
    assert not TaskScheduleTick.objects.exists()
    assert [message for _, message in history()][:2] == ["Added.", "Changed Enabled, Cron and Time zone."]


def test_a_page_that_is_saved_as_it_is_changes_nothing(client):
    row = make(task_args=[{"größer": [1.5, None]}], queue_name="heavy", misfire="all", overlap="skip")
    before = TaskSchedule.objects.values().get()

    response = client.post(page(row), form_of(client, page(row)))

    assert response.status_code == 302
    assert TaskSchedule.objects.values().get() == before


# What is refused


@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        ({"cron": "never"}, "cron", "the cron expression 'never' has 1 fields: write five fields"),
        ({"cron": "0 25 * * *"}, "cron", "cannot be read"),
        ({"cron": "0 0 30 2 *"}, "cron", "write five fields"),
        ({"cron": "@never"}, "cron", "is unknown: write one of @yearly"),
        ({"cron": EVIL}, "cron", "write five fields"),
        ({"cron": ""}, "cron", "required"),
        ({"cron": "\x00"}, "cron", "Null characters"),
        ({"timezone": "Rome"}, "timezone", "there is no time zone 'Rome': write one such as \"Europe/Rome\""),
        ({"timezone": "../../etc/passwd"}, "timezone", "there is no time zone"),
        ({"timezone": EVIL}, "timezone", "there is no time zone"),
        ({"task": "os:system"}, "task", "os:system is not a registered task: pick one of the list"),
        ({"task": EVIL}, "task", "is not a registered task"),
        ({"task": ""}, "task", "required"),
        ({"task_args": "[1]"}, "task_args", "project.tasks.add(): missing a required argument: 'b'"),
        ({"task_args": "[1, 2, 3]"}, "task_args", "too many positional arguments"),
        ({"task_kwargs": '{"c": 3}'}, "task_args", "unexpected keyword argument 'c'"),
        ({"task_args": "[1, NaN]"}, "task_args", "args[1] is nan, which is not JSON"),
        ({"task_args": '["\\ud800", 2]'}, "task_args", "lone surrogate"),
        ({"task_args": '["\\u0000", 2]'}, "task_args", "NUL"),
        ({"task_args": '{"a": 1}'}, "task_args", 'write a list, such as [1, "two"]'),
        ({"task_args": "one"}, "task_args", 'write a list, such as [1, "two"]'),
        ({"task_args": EVIL}, "task_args", "write a list"),
        ({"task_args": "[" * 100_000}, "task_args", "write a list"),
        ({"task_args": f"[{'9' * 5_000}, 2]"}, "task_args", "write a list"),
        ({"task_kwargs": "[]"}, "task_kwargs", 'write an object, such as {"text": "hello"}'),
        ({"queue_name": "closed"}, "queue_name", "closed is not a queue of the I3TASKS setting"),
        ({"key": "taken"}, "key", "There is a schedule of this name: write another one."),
        ({"key": "@project.tasks.add"}, "key", "is a name of the settings or of a decorator"),
        ({"key": "of the settings"}, "key", "is a name of the settings or of a decorator"),
        ({"key": ""}, "key", "required"),
        ({"misfire": "often"}, "misfire", "often"),
    ],
)
def test_what_could_never_fire_is_an_error_of_the_form(client, i3tasks, wrong, field, message):
    i3tasks(schedules=[Schedule("project.tasks", "nothing", "@daily", name="of the settings")])
    make("taken")
    row = make("mine", task_name="add", task_args=[1, 2])
    before = list(TaskSchedule.objects.order_by("pk").values())

    for address, seen in ((f"{SCHEDULES}add/", {}), (page(row), {"seen_version": row.version})):
        errors = errors_of(client, address, WRITTEN | seen | wrong)
        assert errors.keys() == {field}
        assert message in str(errors[field][0])

    assert list(TaskSchedule.objects.order_by("pk").values()) == before
    assert not LogEntry.objects.exists()


def test_the_wrong_cron_and_the_wrong_zone_are_told_at_once(client):
    errors = errors_of(client, f"{SCHEDULES}add/", WRITTEN | {"cron": "x", "timezone": "y", "task_args": "z"})

    assert errors.keys() == {"cron", "timezone", "task_args"}


def test_the_tasks_own_queue_must_be_in_the_settings(client, i3tasks):
    i3tasks(other_queues=())

    errors = errors_of(
        client, f"{SCHEDULES}add/", WRITTEN | {"task": "project.tasks:add_heavy", "queue_name": ""}
    )

    assert "The task's own queue, heavy, is not in the I3TASKS setting" in errors["queue_name"][0]


def test_what_is_gone_from_the_code_and_the_settings_is_shown_and_refused(client):
    row = make(task_name="gone", queue_name="closed")

    html = shown(client, page(row))
    errors = errors_of(client, page(row), form_of(client, page(row)))

    assert "project.tasks.gone (not registered in this process)" in html
    assert "closed (not in the I3TASKS setting)" in html
    assert errors.keys() == {"task", "queue_name"}
    assert "not registered in this process" in shown(client, SCHEDULES)
    assert told(act(client, "pause", row)) == ["1 schedule paused."]


# Two people


def test_an_edit_over_another_one_is_noticed(client):
    row = make()
    form = form_of(client, page(row))
    assert store.edit(row, cron="0 4 * * *")

    errors = errors_of(client, page(row), form | {"cron": "0 5 * * *"})

    assert "Somebody else has edited this schedule since you opened it" in errors["__all__"][0]
    assert TaskSchedule.objects.get().cron == "0 4 * * *"
    assert "edited this schedule" in errors_of(client, page(row), form | {"seen_version": ""})["__all__"][0]


def test_an_edit_between_the_check_and_the_write_is_noticed(client, monkeypatch):
    row = make()
    form = form_of(client, page(row)) | {"cron": "0 5 * * *", "key": EVIL}
    overtaken = store.edit

    def edit(row, **fields):
        TaskSchedule.objects.update(cron="0 4 * * *", version=row.version + 1)
        return overtaken(row, **fields)

    monkeypatch.setattr(store, "edit", edit)
    response = client.post(page(row), form, follow=True)

    assert told(response) == ["Somebody else has edited this schedule meanwhile: nothing was saved."]
    assert response.redirect_chain == [(page(row), 302)]
    assert TaskSchedule.objects.get().key == "report"
    assert not LogEntry.objects.exists()


def test_a_second_click_on_save_adds_no_second_row(client, monkeypatch):
    make(EVIL)
    monkeypatch.setattr("django.forms.ModelForm.validate_unique", lambda form: None)

    response = client.post(f"{SCHEDULES}add/", WRITTEN | {"key": EVIL}, follow=True)

    assert told(response) == [f"A schedule named {EVIL} was added meanwhile: nothing was saved."]
    assert EVIL not in response.content.decode()
    assert TaskSchedule.objects.count() == 1


def test_beats_that_fire_while_a_form_is_open_are_no_edit(client):
    row = make(cron="* * * * * *")
    form = form_of(client, page(row))
    TaskSchedule.objects.update(next_run_at=store.database_now().replace(microsecond=0))
    fire_due()

    assert client.post(page(row), form | {"cron": "0 5 * * *"}).status_code == 302
    assert TaskSchedule.objects.get().cron == "0 5 * * *"


# Pause, resume, run now


def test_a_schedule_is_paused_and_resumed_by_its_form(client):
    row = make()
    form = form_of(client, page(row))
    del form["is_enabled"]

    client.post(page(row), form)
    assert not TaskSchedule.objects.get().is_enabled
    assert fields_of(client, page(row))["next_run"] == "paused"
    TaskSchedule.objects.update(next_run_at=datetime(2020, 1, 1, tzinfo=UTC))
    client.post(page(row), form_of(client, page(row)) | {"is_enabled": "on"})

    assert TaskSchedule.objects.get().is_enabled
    assert TaskSchedule.objects.get().next_run_at > store.database_now()
    assert history() == [("report", "Paused."), ("report", "Resumed.")]


@pytest.mark.parametrize("source", ["settings", "code", "admin"])
def test_any_schedule_is_paused_and_resumed_by_the_lists_actions(client, source):
    row, other = make(source=source), make("other", is_enabled=False)

    assert told(act(client, "pause", row, other)) == [
        "1 schedule paused.",
        "1 schedule not paused: 1 already paused.",
    ]
    TaskSchedule.objects.update(next_run_at=store.database_now() - timedelta(hours=1))
    assert fire_due() == 0
    assert told(act(client, "resume", row)) == ["1 schedule resumed."]
    assert told(act(client, "resume", row)) == ["1 schedule not resumed: 1 not paused."]

    row.refresh_from_db()
    assert (row.is_enabled, row.version) == (True, 3)
    assert row.next_run_at == Cron(row.cron, row.timezone).following(store.database_now())
    assert history() == [("report", "Paused."), ("report", "Resumed.")]


def test_a_schedule_that_cannot_be_switched_keeps_no_other(client, monkeypatch):
    overtaken, broken, fine = make("a"), make("b", cron="nonsense"), make("c")
    edit = store.edit
    monkeypatch.setattr(store, "edit", lambda row, **fields: row.pk != overtaken.pk and edit(row, **fields))

    assert told(act(client, "pause", overtaken, broken, fine)) == [
        "2 schedules paused.",
        "1 schedule not paused: 1 edited meanwhile: repeat it.",
    ]
    assert told(act(client, "resume", broken)) == [
        "1 schedule not resumed: 1 with a clock that cannot be read."
    ]
    assert sorted(history()) == [("b", "Paused."), ("c", "Paused.")]


@pytest.mark.parametrize("source", ["settings", "code", "admin"])
def test_any_schedule_runs_now(client, source):
    row = make(EVIL, source=source, task_args=["now"], is_enabled=False)

    response = act(client, "run_now", row)

    made = TaskExecution.objects.get()
    link = f'href="/admin/i3tasks_django/taskexecution/{made.pk}/change/"'
    assert link in told(response)[0]
    assert told(response)[0].startswith("1 schedule called: &lt;script&gt;")
    assert link in response.content.decode()
    assert "<script>alert" not in response.content.decode()
    assert history() == [(EVIL, "Run now.")]
    messages.deliver_all()
    assert messages.called() == ["log_sent success 'now'"]
    assert TaskScheduleTick.objects.get().task_execution == made
    row.refresh_from_db()
    assert (row.version, row.is_enabled) == (1, False)


def test_one_message_leads_to_so_many_calls(client, monkeypatch):
    monkeypatch.setattr(schedule_actions, "MOST_LINKED", 2)
    rows = [make(f"s{number}") for number in range(5)]

    (message,) = told(act(client, "run_now", *rows))

    assert message.startswith("5 schedules called: s0 <a")
    assert message.endswith("</a>, and 3 more.")
    assert TaskExecution.objects.count() == 5


def test_what_no_worker_would_hear_of_is_not_run(client, monkeypatch):
    closed, gone = make("closed", queue_name="closed"), make("gone")
    fired = schedule_actions._fired
    monkeypatch.setattr(
        schedule_actions, "_fired", lambda pk: TaskSchedule.objects.filter(pk=pk).delete() and fired(pk)
    )

    assert told(act(client, "run_now", closed, gone)) == [
        "2 schedules not run: 1 deleted meanwhile, 1 with a queue that is not in the I3TASKS setting."
    ]
    assert not TaskExecution.objects.exists()
    assert not LogEntry.objects.exists()


# Whose it is


@pytest.mark.parametrize("source", ["settings", "code"])
def test_what_the_code_says_is_read_only(client, source):
    row = make(source=source, task_args=["a"], task_kwargs={"password": "k-1"})

    html = shown(client, page(row))

    assert 'name="_save"' not in html
    assert 'name="cron"' not in html
    assert "k-1" not in html
    assert MASK in html
    assert fields_of(client, page(row))["called_task"] == "project.tasks.log_sent"
    assert client.post(page(row), WRITTEN | {"seen_version": 1}).status_code == 403
    assert client.post(f"{SCHEDULES}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    act(client, "delete_selected", row, make("mine"), post="yes")
    assert TaskSchedule.objects.count() == 2


def test_a_persons_schedules_are_deleted_with_their_ticks(client):
    rows = [make("a"), make("b")]
    for row in rows:
        fire_now(row)

    with CaptureQueriesContext(connection) as queries:
        html = shown(client, f"{SCHEDULES}{rows[0].pk}/delete/")
        act(client, "delete_selected", *rows)
    assert not any('SELECT "i3tasks_django_taskscheduletick"' in query["sql"] for query in queries)
    assert "Are you sure" in html
    act(client, "delete_selected", *rows, post="yes")

    assert not TaskSchedule.objects.exists()
    assert not TaskScheduleTick.objects.exists()
    assert TaskExecution.objects.count() == 2


@pytest.mark.parametrize("action", ["pause", "run_now"])
@pytest.mark.parametrize("may_change", [False, True])
def test_actions_need_the_permission_to_change(action, may_change):
    row = make(task_kwargs={"token": "k-1"})
    reader = staff("view_taskschedule", *(["change_taskschedule"] * may_change))

    assert ("k-1" in shown(reader, page(row))) is may_change
    act(reader, action, row)

    done = TaskExecution.objects.exists() or not TaskSchedule.objects.get().is_enabled
    assert done is may_change


def test_adding_editing_and_deleting_need_their_permissions():
    row = make()
    reader = staff("view_taskschedule")

    assert reader.get(f"{SCHEDULES}add/").status_code == 403
    assert reader.post(f"{SCHEDULES}add/", WRITTEN | {"key": "another"}).status_code == 403
    assert reader.post(page(row), WRITTEN | {"seen_version": 1}).status_code == 403
    assert reader.post(f"{SCHEDULES}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert TaskSchedule.objects.get().cron == row.cron


def test_a_schedule_of_the_settings_shows_up_and_can_be_run(client, i3tasks):
    i3tasks(schedules=[Schedule("project.tasks", "log_sent", "* * * * *", ["tick"], name="minutely")])
    fire_due()

    assert listed(client) == ["minutely"]
    act(client, "run_now", TaskSchedule.objects.get())
    messages.deliver_all()
    assert messages.called() == ["log_sent success 'tick'"]


# What is shown


def test_a_list_costs_as_many_queries_for_a_hundred_schedules_as_for_one(client):
    def queries():
        with CaptureQueriesContext(connection) as asked:
            response = client.get(SCHEDULES)
        assert response.status_code == 200
        assert not any('"task_kwargs"' in query["sql"] for query in asked)
        return len(asked)

    fire_now(make("first"))
    few = queries()
    for number in range(99):
        fire_now(make(f"s{number}"))
    assert queries() == few <= 8


def test_the_list_shows_the_last_run_and_how_it_stands(client):
    row = make()
    fire_now(row)
    last = fire_now(row)
    make("paused", is_enabled=False)
    html = shown(client, SCHEDULES)

    assert html.count("taskexecution/") >= 1
    assert f'/admin/i3tasks_django/taskexecution/{last.id}/change/"' in html
    assert ">pending</span>" in html
    assert ">paused<" in html
    messages.deliver_all()
    assert ">success</span>" in shown(client, SCHEDULES)
    TaskExecution.objects.all().delete()
    assert "call deleted" in shown(client, SCHEDULES)
    assert fields_of(client, page(row))["last_runs"].count("call deleted") == 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"source": "settings"}, ["theirs"]),
        ({"source": "\x00"}, []),
        ({"enabled": "no"}, ["theirs"]),
        ({"enabled": "yes"}, ["mine"]),
        ({"enabled": "maybe"}, []),
        ({"task": "project.tasks.add"}, ["theirs"]),
        ({"task": "gone.module.task"}, []),
        ({"q": "min"}, ["mine"]),
        ({"q": "tasks.ad"}, []),
        ({"q": "project theirs"}, ["theirs"]),
    ],
)
def test_the_list_is_narrowed_by_source_pause_task_and_name(client, query, expected):
    make("mine")
    make("theirs", source="settings", task_name="add", is_enabled=False)

    assert listed(client, **query) == expected


@pytest.mark.parametrize("lookup", ["task_kwargs__password", "cron", "is_enabled__exact"])
def test_no_other_lookup_is_allowed(client, lookup):
    assert client.get(SCHEDULES, {lookup: "a"}).status_code == 400


def test_the_page_shows_the_next_ten_ticks_as_the_clock_will_show_them(client, monkeypatch):
    monkeypatch.setattr(schedule_fields.store, "database_now", lambda: datetime(2026, 3, 27, 12, tzinfo=UTC))
    row = make(cron="30 2 * * *")

    ticks = fields_of(client, page(row))["next_runs"]

    assert ticks.count("<tr>") == 1 + schedule_fields.MOST_NEXT
    for local, utc in (
        ("Sat 2026-03-28 02:30:00 CET", "Sat 2026-03-28 01:30:00 UTC"),
        ("Sun 2026-03-29 03:30:00 CEST", "Sun 2026-03-29 01:30:00 UTC"),
        ("Mon 2026-03-30 02:30:00 CEST", "Mon 2026-03-30 00:30:00 UTC"),
    ):
        assert f"<td>{local}</td><td>{utc}</td>" in ticks


def test_the_preview_follows_what_is_written_even_if_something_else_is_wrong(client):
    wrong = WRITTEN | {"task": "", "cron": "30 5 * * *"}

    assert " 05:30:00 CE" in fields_of(client, f"{SCHEDULES}add/", wrong)["next_runs"]
    unreadable = fields_of(client, f"{SCHEDULES}add/", wrong | {"cron": "x"})["next_runs"]
    assert unreadable == "shown here when the form is sent"
    row = make()
    assert " 05:30:00 CE" in fields_of(client, page(row), wrong | {"seen_version": 1})["next_runs"]


@pytest.mark.parametrize("wrong", [{"cron": EVIL}, {"timezone": EVIL}, {"cron": "0 0 30 2 *"}])
def test_a_row_whose_clock_cannot_be_read_still_has_a_page(client, wrong):
    for source in ("admin", "settings"):
        row = make(source, source=source, **wrong)
        assert "write" in fields_of(client, page(row))["next_runs"]
    assert len(listed(client)) == 2


def test_the_page_shows_the_last_twenty_runs(client):
    row = make(cron="* * * * * *", misfire="all")
    TaskSchedule.objects.update(
        next_run_at=store.database_now().replace(microsecond=0) - timedelta(seconds=24)
    )
    fired = fire_due()
    messages.deliver_all()

    with CaptureQueriesContext(connection) as queries:
        runs = fields_of(client, page(row))["last_runs"]

    assert fired > 20
    assert len(queries) <= 8
    assert runs.count(">success</span>") == 20
    newest = list(TaskScheduleTick.objects.order_by("-tick_at")[:20])
    assert all(str(tick.task_execution_id) in runs for tick in newest)


def test_everything_that_people_write_is_escaped(client):
    for source in ("admin", "settings"):
        row = make(
            f"{source} {EVIL}",
            source=source,
            task_path=EVIL,
            task_name=EVIL,
            task_args=[EVIL],
            task_kwargs={EVIL: EVIL},
            queue_name=EVIL,
            cron=EVIL,
            timezone=EVIL,
        )
        for address in (SCHEDULES, page(row), f"{SCHEDULES}{row.pk}/history/"):
            html = client.get(address).content.decode()
            assert "<script>alert" not in html
            assert "&lt;script&gt;alert" in html
    assert "<script>alert" not in client.get(f"{SCHEDULES}add/?key={EVIL}&task_args={EVIL}").content.decode()
    errors_of(client, f"{SCHEDULES}add/", dict.fromkeys(WRITTEN, EVIL))


def test_wrong_settings_keep_nobody_from_looking(client):
    row = make()

    with override_settings(I3TASKS=replace(settings.I3TASKS, namespace="")):
        assert listed(client) == ["report"]
        assert "project.tasks.log_sent" in shown(client, page(row))
        assert client.get(f"{SCHEDULES}add/").status_code == 200


def test_the_fields_that_a_form_writes_are_all_that_a_person_decides():
    from i3tasks_django.admin import schedules

    ours = {"id", "source", "next_run_at", "version", "created_at", "declared_at"}
    assert {field.name for field in TaskSchedule._meta.fields} - ours == set(schedules._WRITTEN)
    assert TaskScheduleAdmin.form.Meta.model is TaskSchedule
