"""The admin shows what came before a call or a group and what follows, and cancels groups."""

from __future__ import annotations

from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

import messages
from i3tasks_django import chain, group
from i3tasks_django.admin import actions, groups
from i3tasks_django.models import TaskExecution, TaskExecutionTry, TaskGroup
from project import tasks

EXECUTIONS = "/admin/i3tasks_django/taskexecution/"
GROUPS = "/admin/i3tasks_django/taskgroup/"
EVIL = "<script>alert(1)</script>"

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


def page(row):
    return f"{GROUPS if isinstance(row, TaskGroup) else EXECUTIONS}{row.pk}/change/"


def listed(client, address, **query):
    response = client.get(address, query)
    assert response.status_code == 200
    return [row.pk for row in response.context_data["cl"].result_list]


def shown(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return unescape(response.content.decode())


def act(client, action, *rows, follow=True):
    address = GROUPS if isinstance(rows[0], TaskGroup) else EXECUTIONS
    chosen = [str(row.pk) for row in rows]
    return client.post(address, {"action": action, "_selected_action": chosen, "index": "0"}, follow=follow)


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def history():
    entries = LogEntry.objects.order_by("pk")
    return {(entry.object_id, entry.get_change_message()) for entry in entries}


def one(task_name):
    return TaskExecution.objects.get(task_name=task_name)


def fields_of(client, row):
    """What the page shows under each label, without its markup."""
    response = client.get(page(row))
    assert response.status_code == 200
    form = response.context_data["adminform"]
    return {
        field.field["name"]: str(field.contents())
        for fieldset in form
        for line in fieldset
        for field in line
        if hasattr(field, "contents")
    }


# Cost


def test_a_list_of_a_hundred_groups_costs_few_queries_and_no_long_chains(client):
    long = "".join(chr(0x4E00 + number) for number in range(groups._LONG_CHAIN))
    TaskGroup.create(callback=tasks.log_sent.s(long), total_count=1)
    for _ in range(99):
        TaskGroup.create(callback=tasks.log_sent.s("short"), total_count=2)

    with CaptureQueriesContext(connection) as queries:
        response = client.get(GROUPS)

    rows = response.context_data["cl"].result_list
    assert len(rows) == 100
    assert len(queries) <= 12, [query["sql"] for query in queries]
    assert long not in str([row.__dict__ for row in rows])
    html = response.content.decode()
    assert html.count("project.tasks.log_sent") == 99
    assert html.count("a long chain") == 1


def test_a_list_counts_no_further_than_its_last_page(client, monkeypatch):
    monkeypatch.setattr("i3tasks_django.admin.base.MOST_LISTED", 5)
    for _ in range(8):
        TaskGroup.create(total_count=1)

    with CaptureQueriesContext(connection) as queries:
        response = client.get(GROUPS)

    assert response.context_data["cl"].result_count == 5
    assert all("LIMIT" in query["sql"] for query in queries if "COUNT(" in query["sql"])


@pytest.mark.parametrize("members", [2, 60])
def test_a_page_costs_few_queries_however_many_members(client, members):
    made = chain(
        group(tasks.break_down.s(str(n)) for n in range(members)),
        tasks.nothing,
        on_failure=tasks.report_failure,
    ).delay()
    messages.deliver_all()

    for row in (made, one("report_failure"), TaskExecution.objects.filter(task_group=made)[0]):
        with CaptureQueriesContext(connection) as queries:
            shown(client, page(row))
        assert len(queries) <= 14, [query["sql"] for query in queries]

    with CaptureQueriesContext(connection) as queries:
        shown(client, page(made))
    for column in ("task_args", "task_kwargs", "traceback"):
        assert not any(f'"{column}"' in query["sql"] for query in queries)


# The list


def test_the_list_shows_how_far_a_group_is_and_what_it_calls_next(client):
    made = TaskGroup.create(callback=tasks.log_sent.build_chain().then(tasks.add, 1, 2), total_count=1200)
    for task in (tasks.nothing, tasks.nothing, tasks.break_down):
        task.delay(__i3group__=made)
    messages.deliver(messages.ChainHandle(one("break_down").pk))
    messages.deliver_all()

    html = shown(client, GROUPS)

    assert ">failed</span>" in html
    assert "2 + 1 / 1,200" in html
    assert "project.tasks.log_sent, project.tasks.add <span" in html
    assert "(will not run)" in html


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "failed"}, ["failed"]),
        ({"status": "pending"}, ["inner", "outer"]),
        ({"status": "success"}, []),
        ({"status": "x' OR 1=1 --"}, []),
        ({"status": "\x00"}, []),
        ({"group": "outer"}, ["inner"]),
        ({"group": "outer", "status": "failed"}, []),
        ({"group": "inner"}, []),
        ({"group": "no id"}, []),
        ({"group": "\x00"}, []),
        ({"q": "inner"}, ["inner"]),
        ({"q": "log_sent"}, []),
    ],
)
def test_groups_are_found_by_status_by_the_group_around_them_and_by_id(client, query, expected):
    rows = {"outer": group(tasks.nothing, group(tasks.log_sent, tasks.nothing)).delay()}
    rows["inner"] = TaskGroup.objects.get(task_group=rows["outer"])
    rows["failed"] = TaskGroup.create(total_count=2)
    TaskGroup.objects.filter(pk=rows["failed"].pk).update(status="failed")
    asked = {
        name: str(rows[value].pk) if value in ("outer", "inner") else value for name, value in query.items()
    }

    assert listed(client, GROUPS, **asked) == [rows[name].pk for name in expected]


def test_the_calls_of_a_group_are_a_list_of_their_own(client):
    made = group(tasks.nothing, tasks.break_down).delay()
    other = tasks.nothing.delay()
    messages.deliver_all()
    members = list(TaskExecution.objects.filter(task_group=made).order_by("-pk").values_list("pk", flat=True))

    assert listed(client, EXECUTIONS, group=str(made.pk)) == members
    assert listed(client, EXECUTIONS, group=made.pk.hex, state="failed") == [one("break_down").pk]
    assert listed(client, EXECUTIONS, group="no id") == []
    assert listed(client, EXECUTIONS, group="\x00") == []
    assert other.id in listed(client, EXECUTIONS, group="")
    assert str(made.pk) in shown(client, f"{EXECUTIONS}?group={made.pk}")


@pytest.mark.parametrize("lookup", ["chain__0__args", "chain__icontains", "task_group__chain", "state"])
def test_no_other_lookup_tells_what_a_chain_holds(client, lookup):
    assert client.get(GROUPS, {lookup: "a"}).status_code == 400


def test_a_try_is_not_looked_for_by_group(client):
    assert client.get("/admin/i3tasks_django/taskexecutiontry/", {"group": "a"}).status_code == 400


# The page of a group


def test_a_groups_page_shows_its_counters_and_the_ways_to_its_members(client):
    made = TaskGroup.create(callback=tasks.log_sent, total_count=4)
    for text in ("first", "second"):
        tasks.break_down.delay(text, __i3group__=made)
    tasks.nothing.delay(__i3group__=made)
    messages.deliver_all()

    page_fields = fields_of(client, made)

    counters = ("total_count", "member_count", "completed_count", "failed_count")
    assert [page_fields[name] for name in counters] == ["4", "3", "1", "2"]
    assert f'href="{EXECUTIONS}?group={made.pk}"' in page_fields["members"]
    assert f"{EXECUTIONS}?group={made.pk}&amp;state=failed" in page_fields["members"]
    assert f'href="{GROUPS}?group={made.pk}"' in page_fields["members"]
    assert page_fields["failed_members"].count("project.tasks.break_down") == 2
    assert "<strong>ValueError</strong>: first" in page_fields["failed_members"]
    assert "nothing" not in page_fields["failed_members"]
    assert page_fields["belongs_to"] == page_fields["called_after"] == page_fields["called_by"] == "-"


def test_every_link_of_a_groups_page_leads_somewhere(client):
    outer = group(group(tasks.break_down, tasks.nothing), tasks.nothing).then(tasks.log_sent).delay()
    messages.deliver_all()
    inner = TaskGroup.objects.get(task_group=outer)

    for row in (outer, inner, one("break_down")):
        for link in [part.split('"')[0] for part in shown(client, page(row)).split('href="')[1:]]:
            if link.startswith(("/admin/i3tasks_django/taskexecution/", GROUPS)):
                assert client.get(link).status_code == 200, link
    assert page(inner) in fields_of(client, outer)["failed_members"]
    assert page(outer) in fields_of(client, inner)["belongs_to"]


def test_a_groups_page_shows_the_first_of_very_many_failures(client, monkeypatch):
    monkeypatch.setattr(groups, "MOST_FAILED", 3)
    made = group(tasks.break_down.s("x" * 5_000 + str(n)) for n in range(5)).delay()
    messages.deliver_all()

    failed = fields_of(client, made)["failed_members"]

    assert failed.count("project.tasks.break_down") == 3
    assert len(failed) < 5_000
    first = TaskExecution.objects.filter(task_group=made).order_by("pk")[0]
    assert failed.index(page(first)) < failed.index("project.tasks.break_down", 40)


def test_very_many_steps_are_counted_not_listed(client):
    made = chain(
        group(tasks.nothing), group(tasks.log_sent.s(str(n)) for n in range(1_500)), tasks.nothing
    ).delay()
    many = TaskGroup.create(callback=chain(*[tasks.nothing, tasks.log_sent] * 40), total_count=1)

    assert "project.tasks.log_sent × 1,500, project.tasks.nothing" in fields_of(client, made)["what_follows"]
    assert ", 30 more" in fields_of(client, many)["what_follows"]


# Before and after


def test_a_calls_page_shows_what_came_before_it_and_what_follows(client):
    handle = chain(tasks.nothing, tasks.add.s(1, 2), tasks.log_sent, tasks.send).delay()
    first = messages.execution(handle)
    names = "project.tasks.add, project.tasks.log_sent, project.tasks.send, project.tasks.log_sent"
    assert fields_of(client, first)["what_follows"] == f"<div>{names}</div>"

    messages.deliver(handle)
    before, after = fields_of(client, first), fields_of(client, one("add"))

    assert page(one("add")) in before["followed_by"]
    assert "project.tasks.add <a" in before["followed_by"]
    assert page(first) in after["called_after"]
    assert "project.tasks.nothing <a" in after["called_after"]
    assert after["followed_by"] == "-"
    assert names.partition(", ")[2] in after["what_follows"]


def test_a_callbacks_page_leads_to_its_group_and_back(client):
    made = group(tasks.nothing, tasks.nothing).then(tasks.log_sent).delay()
    assert "project.tasks.log_sent" in fields_of(client, made)["what_follows"]
    messages.deliver_all()

    member = TaskExecution.objects.filter(task_group=made)[0]
    assert page(made) in fields_of(client, member)["belongs_to"]
    assert page(made) in fields_of(client, one("log_sent"))["called_by"]
    assert page(one("log_sent")) in fields_of(client, made)["followed_by"]


def test_a_group_that_follows_a_call_is_linked_from_it(client):
    handle = chain(tasks.add.s(1, 2), group(tasks.nothing, tasks.nothing)).delay()
    messages.deliver_all()

    made = TaskGroup.objects.get()
    assert page(made) in fields_of(client, messages.execution(handle))["followed_by"]
    assert page(messages.execution(handle)) in fields_of(client, made)["called_after"]


def test_what_hears_of_a_failure_is_told_apart(client):
    handle = chain(tasks.break_down, tasks.log_sent, on_failure=tasks.report_failure).delay()
    first = messages.execution(handle)
    assert "if it fails: project.tasks.report_failure" in fields_of(client, first)["what_follows"]
    messages.deliver_all()

    before = fields_of(client, first)
    assert "project.tasks.log_sent <span" in before["what_follows"]
    assert "(not unless this call runs again and succeeds)" in before["what_follows"]
    assert "if it fails" not in before["what_follows"]
    assert page(one("report_failure")) in before["followed_by"]
    assert "after its failure" in before["followed_by"]
    assert "after its failure" in fields_of(client, one("report_failure"))["called_after"]


def test_what_no_longer_follows_a_cancelled_call_says_so(client):
    handle = chain(tasks.nothing, tasks.log_sent).delay()
    messages.claim(handle)
    handle.cancel()

    assert "(will not run)" in fields_of(client, messages.execution(handle))["what_follows"]


def test_a_call_alone_has_nothing_before_or_after_it(client):
    page_fields = fields_of(client, messages.execution(tasks.nothing.delay()))

    names = ("called_after", "called_by", "belongs_to", "what_follows", "followed_by")
    assert [page_fields[name] for name in names] == ["-"] * 5


def test_the_arguments_of_later_steps_are_not_shown(client):
    secret = tasks.log_sent.s("k-1")
    handle = chain(tasks.nothing, secret, group(secret, secret), on_failure=secret).delay()
    made = TaskGroup.create(callback=secret, on_failure=secret, total_count=1)

    html = "".join(shown(client, address) for address in (EXECUTIONS, GROUPS, page(made)))
    assert "k-1" not in html + shown(client, page(messages.execution(handle)))


def test_everything_that_users_and_tasks_write_is_escaped(client):
    handle = chain(tasks.nothing, tasks.log_sent, on_failure=tasks.log_sent).delay()
    first = messages.execution(handle)
    made = group(tasks.break_down.s(EVIL)).then(tasks.log_sent).delay()
    messages.deliver_all()
    evil_call = {"call": [EVIL, EVIL], "args": [], "kwargs": {}, "queue": EVIL, "retries": 0}
    TaskExecution.objects.update(task_path=EVIL, task_name=EVIL, chain=[evil_call])
    TaskGroup.objects.update(chain=[evil_call, {"otherwise": [evil_call]}], status=EVIL[:16])
    TaskExecutionTry.objects.update(error_class=EVIL, error_message=EVIL)

    for address in (
        GROUPS,
        f"{GROUPS}?status={EVIL}&group={EVIL}",
        f"{EXECUTIONS}?group={EVIL}",
        page(made),
        *map(page, TaskExecution.objects.all()),
    ):
        html = client.get(address).content.decode()
        assert "<script>alert" not in html
        assert "&lt;script&gt;" in html
    assert TaskExecution.objects.filter(chained_from=first).exists()


def test_wrong_settings_keep_nobody_from_looking(client):
    made = group(tasks.nothing, tasks.nothing).then(tasks.log_sent).delay()

    with override_settings(I3TASKS=None):
        assert listed(client, GROUPS) == [made.pk]
        shown(client, page(made))


# Nothing is edited


def test_no_group_is_added_changed_or_deleted_by_a_form(client):
    made = TaskGroup.create(total_count=2)

    assert client.get(f"{GROUPS}add/").status_code == 403
    assert client.post(page(made), {"status": "success"}).status_code == 403
    assert client.post(f"{GROUPS}{made.pk}/delete/", {"post": "yes"}).status_code == 403
    html = shown(client, page(made))
    assert 'name="_save"' not in html
    act(client, "delete_selected", made)
    assert TaskGroup.objects.get().status == "pending"


def test_a_call_that_a_group_waits_for_is_not_deleted_until_it_has_ended(client):
    group(tasks.nothing).delay()
    member, alone = one("nothing"), messages.execution(tasks.log_sent.delay())
    chosen = {"action": "delete_selected", "_selected_action": [member.pk, alone.pk], "post": "yes"}

    assert client.post(f"{EXECUTIONS}{member.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(EXECUTIONS, chosen).status_code == 403
    assert TaskExecution.objects.count() == 2
    messages.deliver_all()
    assert client.post(EXECUTIONS, chosen).status_code == 302
    assert not TaskExecution.objects.exists()


# Cancel


def test_a_groups_members_are_cancelled_and_nothing_follows(client):
    made = group(tasks.add.s(1, 2), tasks.add.s(3, 4), tasks.nothing).then(tasks.log_sent).delay()
    messages.deliver(messages.ChainHandle(one("nothing").pk))

    response = act(client, "cancel_groups", made)

    assert told(response) == ["1 group cancelled.", "2 calls cancelled."]
    assert messages.deliver_all() == 0
    assert TaskGroup.objects.get().status == "cancelled"
    assert history() == {(str(made.pk), "Cancelled.")}
    assert "Cancelled." in shown(client, f"{GROUPS}{made.pk}/history/")
    assert "(will not run)" in fields_of(client, made)["what_follows"]


def test_running_members_are_counted_apart(client):
    made = group(tasks.add.s(1, 2), tasks.nothing).then(tasks.log_sent).delay()
    (held,) = messages.claim(messages.ChainHandle(one("nothing").pk))

    running = "1 call not cancelled: 1 running (told so; no further try follows)."
    assert told(act(client, "cancel_groups", made)) == ["1 group cancelled.", "1 call cancelled.", running]
    assert "cancel requested" in shown(client, GROUPS)
    assert told(act(client, "cancel_groups", made)) == [running]
    messages.perform(held)
    assert told(act(client, "cancel_groups", made)) == ["1 group not cancelled: 1 already ended."]
    assert messages.deliver_all() == 0


def test_a_group_whose_members_were_never_called_is_cancelled(client):
    made = TaskGroup.create(callback=tasks.log_sent, total_count=3)

    assert told(act(client, "cancel_groups", made)) == ["1 group cancelled."]
    assert TaskGroup.objects.get().status == "cancelled"


def test_cancelling_an_ended_group_cancels_what_follows_it(client):
    made = group(tasks.nothing).then(tasks.log_sent).delay()
    messages.deliver(messages.ChainHandle(one("nothing").pk))

    assert told(act(client, "cancel_groups", made)) == ["1 call cancelled."]
    assert history() == {(str(made.pk), "Cancelled.")}
    assert messages.called() == ["nothing success", "log_sent cancelled"]


def test_an_inner_group_that_is_cancelled_with_the_outer_one_is_no_failure_to_it(client):
    outer = chain(group(group(tasks.nothing)), on_failure=tasks.report_failure).delay()
    inner = TaskGroup.objects.get(task_group=outer)

    response = act(client, "cancel_groups", inner, outer)

    assert told(response) == ["2 groups cancelled.", "1 call cancelled."]
    assert messages.called() == ["nothing cancelled"]


def test_one_request_takes_only_so_many_groups(client, monkeypatch):
    monkeypatch.setattr(actions, "MOST_AT_ONCE", 2)
    made = [TaskGroup.create(total_count=1) for _ in range(3)]

    assert "2 groups cancelled." in told(act(client, "cancel_groups", *made))
    statuses = TaskGroup.objects.order_by("pk").values_list("status", flat=True)
    assert list(statuses) == ["pending", "cancelled", "cancelled"]


@pytest.mark.parametrize("may_change", [False, True])
def test_cancelling_a_group_needs_the_permission_to_change(may_change):
    made = group(tasks.nothing).delay()
    user = User.objects.create_user("reader", is_staff=True)
    codenames = ["view_taskgroup", *(["change_taskgroup"] * may_change)]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    reader = Client()
    reader.force_login(user)

    shown(reader, page(made))
    act(reader, "cancel_groups", made)

    assert messages.called() == ["nothing cancelled" if may_change else "nothing pending"]


def test_cancelling_a_call_that_has_ended_cancels_the_step_whose_turn_it_is(client):
    handle = chain(tasks.nothing, tasks.add.s(1, 2), tasks.log_sent).delay()
    messages.deliver(handle)
    first = messages.execution(handle)

    assert told(act(client, "cancel", first)) == ["1 call cancelled."]
    assert messages.called() == ["nothing success", "add cancelled"]
    assert history() == {(str(first.pk), "Cancelled what follows.")}
    assert told(act(client, "cancel", first)) == ["1 call not cancelled: 1 already ended."]


def test_a_running_step_is_told_apart_also_when_the_call_before_it_was_picked(client):
    handle = chain(tasks.nothing, tasks.add.s(1, 2), tasks.log_sent).delay()
    messages.deliver(handle)
    messages.claim(messages.ChainHandle(one("add").pk))
    running = "1 call not cancelled: 1 running (told so; no further try follows)."

    assert told(act(client, "cancel", messages.execution(handle))) == [running]
    assert told(act(client, "cancel", one("add"))) == [running]
    assert (str(one("add").pk), "Cancel requested.") in history()


def test_a_call_and_the_step_after_it_are_counted_once(client):
    handle = chain(tasks.nothing, tasks.add.s(1, 2)).delay()
    messages.deliver(handle)
    alone = messages.execution(tasks.log_sent.delay())

    response = act(client, "cancel", messages.execution(handle), one("add"), alone)

    assert told(response) == ["2 calls cancelled."]
    assert {message for _, message in history()} == {"Cancelled.", "Cancelled what follows."}
    assert len(history()) == 3


def test_a_failed_step_that_runs_again_takes_the_chain_on(client, tmp_path):
    path = tmp_path / "there"
    handle = chain(tasks.read.s(str(path)), tasks.log_sent).delay()
    messages.deliver_all()
    path.write_text("now")

    assert told(act(client, "run_again", messages.execution(handle))) == ["1 call will run again."]
    messages.deliver_all()

    assert messages.called() == ["read success 'now'", "log_sent success 'sent'"]


def test_cancelling_the_last_member_lets_the_group_say_so(client):
    made = group(tasks.nothing, tasks.add.s(1, 2), on_failure=tasks.report_failure).delay()
    messages.deliver(messages.ChainHandle(one("nothing").pk))

    assert told(act(client, "cancel", one("add"))) == ["1 call cancelled."]
    messages.deliver_all()

    assert messages.called() == ["nothing success", "add cancelled", "report_failure success 'reported'"]
    assert TaskGroup.objects.get(pk=made.pk).status == "failed"
