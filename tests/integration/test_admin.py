"""The admin shows calls and tries, finds them cheaply, and runs them again or cancels them."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

import messages
from i3tasks_core import registry
from i3tasks_core.masking import MASK
from i3tasks_django import publishing, store, task
from i3tasks_django.admin import base
from i3tasks_django.models import TaskExecution, TaskExecutionResult, TaskExecutionTry
from project import tasks

EXECUTIONS = "/admin/i3tasks_django/taskexecution/"
TRIES = "/admin/i3tasks_django/taskexecutiontry/"
LISTS = pytest.mark.parametrize("address", [EXECUTIONS, TRIES])


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


@pytest.fixture
def published(monkeypatch):
    """Batches that went to Pub/Sub, and whether a transaction was open then."""
    batches = []

    def take(queue_name, batch):
        ids = [envelope.execution_id for envelope in batch]
        batches.append(SimpleNamespace(ids=ids, was_open=connection.in_atomic_block))

    monkeypatch.setattr(publishing, "_publish_batch", take)
    return batches


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))


def make(state="success", tries=1, **fields):
    """An execution that ended that way, with so many tries."""
    fields = {
        "task_path": "project.tasks",
        "task_name": "add",
        "queue_name": "default",
        "max_retries": 3,
    } | fields
    execution = TaskExecution.objects.create(state=state, **fields)
    TaskExecutionTry.objects.bulk_create(
        TaskExecutionTry(
            task_execution=execution,
            try_number=number,
            state=state if number == tries else "failed",
            next_publish_at=Now(),
            started_at=Now(),
            finished_at=Now(),
            worker="host:1",
            error_class="" if state == "success" and number == tries else "ValueError",
            error_message="no luck",
            traceback="Traceback (most recent call last):\n  no luck",
        )
        for number in range(1, tries + 1)
    )
    return execution


def page(execution):
    return f"{EXECUTIONS}{execution.pk}/change/"


def listed(client, address, **query):
    response = client.get(address, query)
    assert response.status_code == 200
    return [row.pk for row in response.context_data["cl"].result_list]


def shown(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def act(client, action, *executions, follow=True):
    chosen = [str(execution.pk) for execution in executions]
    return client.post(
        EXECUTIONS, {"action": action, "_selected_action": chosen, "index": "0"}, follow=follow
    )


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def state_of(execution):
    return TaskExecution.objects.values_list("state", flat=True).get(pk=execution.pk)


# Cost


@LISTS
def test_a_list_of_a_hundred_rows_costs_few_queries_and_no_long_columns(client, address):
    for number in range(100):
        make(
            ("success", "failed", "cancelled")[number % 3],
            tries=3,
            task_args=["argument"],
            chain=[{"join": UUID(int=1).hex, "number": 0}],
        )

    with CaptureQueriesContext(connection) as queries:
        assert len(listed(client, address)) == 100

    assert len(queries) <= 12, [query["sql"] for query in queries]
    for column in ("task_args", "task_kwargs", "chain", "traceback", "error_message"):
        assert not any(f'"{column}"' in query["sql"] for query in queries)


@pytest.mark.parametrize("tries", [1, 5])
def test_a_page_costs_few_queries_however_many_tries(client, tries):
    execution = make(tries=tries)
    TaskExecutionResult.objects.create(task_execution_try=execution.tries.last(), result={"sum": 3})

    with CaptureQueriesContext(connection) as queries:
        html = shown(client, page(execution))

    assert len(queries) <= 12, [query["sql"] for query in queries]
    assert html.count("Traceback (most recent call last)") == tries - 1
    assert '"sum": 3' in unescape(html)


@LISTS
def test_a_list_counts_no_further_than_its_last_page(client, address, monkeypatch):
    monkeypatch.setattr(base, "MOST_LISTED", 5)
    for _ in range(8):
        make()

    with CaptureQueriesContext(connection) as queries:
        response = client.get(address)

    assert response.context_data["cl"].result_count == 5
    assert all("LIMIT" in query["sql"] for query in queries if "COUNT(" in query["sql"])


# Filters and search


@LISTS
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "failed"}, "failed"),
        ({"queue": "heavy"}, "heavy"),
        ({"queue": "closed"}, "gone"),
        ({"task": "project.tasks.fail"}, "failed"),
        ({"task": "gone.module.Old.task"}, "gone"),
        ({"state": "failed", "queue": "default", "task": "project.tasks.fail"}, "failed"),
        ({"state": "success", "queue": "heavy", "task": "project.tasks.fail"}, None),
        ({"state": "running?"}, None),
        ({"queue": "x' OR 1=1 --"}, None),
        ({"task": "no_dot"}, None),
        ({"task": "\x00"}, None),
        ({"queue": "\x00"}, None),
        ({"state": "\x00"}, None),
        ({"q": "gone.module"}, "gone"),
        ({"q": "old.TASK"}, "gone"),
        ({"q": "tasks.fail"}, "failed"),
        ({"q": "nothing"}, None),
        ({"q": "019b0000-0000-7000-8000-000000000000"}, None),
    ],
)
def test_a_list_is_narrowed_by_state_queue_task_and_name(client, address, query, expected):
    rows = {
        "failed": make("failed", task_name="fail"),
        "heavy": make(queue_name="heavy"),
        "gone": make(task_path="gone.module", task_name="Old.task", queue_name="closed"),
    }
    wanted = [] if expected is None else [rows[expected].pk]
    if address == TRIES:
        wanted = [attempt.pk for attempt in TaskExecutionTry.objects.filter(task_execution__in=wanted)]

    assert listed(client, address, **query) == wanted


@LISTS
def test_a_call_is_found_by_its_id(client, address):
    make()
    execution = make()
    wanted = execution.pk if address == EXECUTIONS else execution.tries.get().pk

    assert listed(client, address, q=str(execution.pk)) == [wanted]
    assert listed(client, address, q=execution.pk.hex) == [wanted]


def test_what_the_address_asks_for_is_offered_as_a_choice(client):
    html = shown(client, f"{EXECUTIONS}?task=gone.module.task&queue=<b>")

    assert "gone.module.task" in html
    assert "<b>" not in html


@LISTS
@pytest.mark.parametrize(
    "lookup", ["task_kwargs__password__startswith", "task_execution__task_kwargs__password", "pk"]
)
def test_no_other_lookup_tells_what_the_mask_hides(client, address, lookup):
    assert client.get(address, {lookup: "a"}).status_code == 400


@LISTS
def test_the_newest_come_first(client, address):
    older, newer = make(id=UUID(int=1)), make()

    ids = listed(client, address)

    wanted = [newer.pk, older.pk]
    assert ids == (
        wanted
        if address == EXECUTIONS
        else [TaskExecutionTry.objects.get(task_execution=pk).pk for pk in wanted]
    )


# What is shown


def test_everything_that_users_and_tasks_write_is_escaped(client):
    evil = "<script>alert(1)</script>"
    execution = make(
        "failed", task_path=evil, task_name=evil, queue_name=evil, task_args=[evil], task_kwargs={evil: evil}
    )
    execution.tries.update(error_class=evil, error_message=evil, traceback=evil, worker=evil)
    result = make()
    TaskExecutionResult.objects.create(task_execution_try=result.tries.get(), result=[evil])

    for address in (
        EXECUTIONS,
        TRIES,
        f"{EXECUTIONS}?queue={evil}&task={evil}&state={evil}",
        page(execution),
        page(result),
        f"{TRIES}{execution.tries.get().pk}/change/",
        f"{TRIES}{result.tries.get().pk}/change/",
    ):
        html = shown(client, address)
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert" in html or address in (EXECUTIONS, TRIES)


def test_a_failed_call_shows_each_trys_error_and_traceback(client):
    handle = tasks.fail.delay("first reason")
    for _ in range(4):
        TaskExecutionTry.objects.update(run_after=None)
        messages.deliver(handle)

    html = shown(client, page(messages.execution(handle)))

    assert html.count("<strong>ValueError</strong>: first reason") == 4
    assert html.count("raise ValueError(text)") == 4


def test_a_trys_page_shows_its_traceback_and_the_way_to_its_call(client):
    execution = make("failed")

    html = shown(client, f"{TRIES}{execution.tries.get().pk}/change/")

    assert "Traceback (most recent call last):\n  no luck</pre>" in html
    assert f'href="{page(execution)}"' in html


def test_secrets_are_masked_in_arguments_and_results(client):
    execution = make(
        task_args=[{"api_key": "k-1"}], task_kwargs={"password": "k-2", "user": {"token": "k-3"}}
    )
    TaskExecutionResult.objects.create(task_execution_try=execution.tries.get(), result={"secret": "k-4"})

    html = shown(client, page(execution)) + shown(client, f"{TRIES}{execution.tries.get().pk}/change/")

    assert "k-" not in html
    assert html.count(MASK) == 5


@pytest.mark.usefixtures("own_registry")
def test_positional_secrets_are_masked_by_their_parameters_names(client):
    @task(bind=True)
    def log_in(user: str, password: str, *tokens: str, task_metadata: object) -> None: ...

    @task
    async def log_in_async(user: str, password: str) -> None: ...

    known, bridged = (
        make(task_path=one.definition.path, task_name=one.definition.name, task_args=["bob", "k-1", *more])
        for one, more in ((log_in, ["k-2", "k-3"]), (log_in_async, []))
    )

    html = shown(client, page(known))
    assert "bob" in html
    assert "k-" not in html
    assert html.count(MASK) == 3
    assert "k-" not in shown(client, page(bridged))


def test_a_call_of_a_task_and_a_queue_that_are_gone_says_so(client):
    execution = make(task_path="gone", queue_name="closed")

    html = shown(client, page(execution))

    assert "not registered in this process" in html
    assert "not in the I3TASKS setting" in html


def test_a_running_try_is_seen_in_the_list_of_calls(client):
    handle = tasks.add.delay(1, 2)
    store.claim([messages.envelope_of(handle)], lease=timedelta(minutes=1), worker="host:1")
    handle.cancel()

    html = shown(client, EXECUTIONS)

    assert ">running</span>" in html
    assert "cancel requested" in html


def test_a_very_long_text_is_shown_in_part(client):
    execution = make(task_args=["x" * 200_000])

    html = shown(client, page(execution))

    assert "characters left out" in html
    assert len(html) < 150_000


# Nothing is edited


@pytest.mark.parametrize("address", [EXECUTIONS, TRIES])
def test_no_row_is_added_or_changed_by_a_form(client, address):
    execution = make("failed")
    pk = execution.pk if address == EXECUTIONS else execution.tries.get().pk

    assert client.get(f"{address}add/").status_code == 403
    assert client.post(f"{address}{pk}/change/", {"state": "success"}).status_code == 403
    html = shown(client, f"{address}{pk}/change/")
    assert 'name="_save"' not in html
    assert 'name="_continue"' not in html
    assert state_of(execution) == "failed"


def test_a_call_is_deleted_with_its_tries_by_whoever_may_delete_calls():
    execution = make(tries=2)
    user = User.objects.create_user("cleaner", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_taskexecution", "delete_taskexecution"])
    )
    cleaner = Client()
    cleaner.force_login(user)

    response = cleaner.post(f"{EXECUTIONS}{execution.pk}/delete/", {"post": "yes"})

    assert response.status_code == 302
    assert not TaskExecution.objects.exists()
    assert not TaskExecutionTry.objects.exists()


def test_a_try_alone_cannot_be_deleted(client):
    attempt = make("failed").tries.get()

    assert client.post(f"{TRIES}{attempt.pk}/delete/", {"post": "yes"}).status_code == 403
    response = client.post(
        TRIES, {"action": "delete_selected", "_selected_action": [attempt.pk], "index": "0", "post": "yes"}
    )

    assert response.status_code in (200, 302)
    assert TaskExecutionTry.objects.filter(pk=attempt.pk).exists()


# Run again, cancel


def test_failed_and_cancelled_calls_run_again_and_the_others_say_why_not(client, published):
    failed, cancelled = make("failed", tries=4), make("cancelled")
    pending, succeeded = make("pending"), make("success")

    response = act(client, "run_again", failed, cancelled, pending, succeeded)

    assert told(response) == [
        "2 calls will run again.",
        "2 calls not run again: 1 already succeeded, 1 not ended yet.",
    ]
    assert [state_of(one) for one in (failed, cancelled, pending, succeeded)] == ["pending"] * 3 + ["success"]
    assert failed.tries.get(try_number=5).state == "pending"
    assert [set(batch.ids) for batch in published] == [{failed.pk, cancelled.pk}]
    assert failed.tries.get(try_number=5).publish_count == 1


def test_a_call_that_was_run_again_can_succeed(client, published, tmp_path):
    handle = tasks.succeed_at_last.delay(str(tmp_path / "tries"))
    handle.cancel()
    act(client, "run_again", messages.execution(handle))

    messages.deliver(handle)
    TaskExecutionTry.objects.update(run_after=None)
    messages.deliver(handle)

    assert handle.result(timeout=0) == 2


def test_what_was_done_is_in_the_calls_history(client, published):
    execution = make("failed")

    act(client, "run_again", execution)

    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(execution.pk), "Run again.")
    assert "Run again." in shown(client, f"{EXECUTIONS}{execution.pk}/history/")


def test_doorbells_wait_for_the_requests_transaction(client, published, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    act(client, "run_again", make("failed"), make("failed"), follow=False)

    assert [(len(batch.ids), batch.was_open) for batch in published] == [(2, False)]


def test_nothing_rings_when_the_requests_transaction_is_rolled_back(client, published):
    class Rollback(Exception):
        pass

    execution = make("failed")

    with pytest.raises(Rollback), transaction.atomic():
        act(client, "run_again", execution, follow=False)
        raise Rollback

    assert published == []
    assert state_of(execution) == "failed"


def test_waiting_calls_are_cancelled_and_the_others_say_why_not(client):
    waiting, running, ended = make("pending"), make("pending"), make("failed")
    running.tries.update(state="running", fence=1)

    response = act(client, "cancel", waiting, running, ended)

    assert told(response) == [
        "1 call cancelled.",
        "2 calls not cancelled: 1 already ended, 1 running (told so; no further try follows).",
    ]
    assert [state_of(one) for one in (waiting, running, ended)] == ["cancelled", "pending", "failed"]
    assert TaskExecution.objects.get(pk=running.pk).cancel_requested_at is not None


def test_all_that_a_filter_shows_can_be_acted_upon_at_once(client, published):
    failed = [make("failed") for _ in range(3)]
    other = make("cancelled")
    choice = {
        "action": "run_again",
        "select_across": "1",
        "index": "0",
        "_selected_action": [str(failed[0].pk)],
    }

    client.post(f"{EXECUTIONS}?state=failed", choice)

    assert [state_of(one) for one in failed] == ["pending"] * 3
    assert state_of(other) == "cancelled"


@pytest.mark.parametrize("may_change", [False, True])
def test_acting_needs_the_permission_to_change(published, may_change):
    execution = make("failed")
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            codename__in=[
                "view_taskexecution",
                "view_taskexecutiontry",
                *(["change_taskexecution"] * may_change),
            ]
        )
    )
    reader = Client()
    reader.force_login(user)

    html = shown(reader, EXECUTIONS)
    act(reader, "run_again", execution)

    assert ("Run again" in html) is may_change
    assert state_of(execution) == ("pending" if may_change else "failed")
    assert "Traceback" in shown(reader, page(execution))


# Wrong settings


@pytest.mark.parametrize("wrong", [None, "a mistake"])
def test_wrong_settings_keep_nobody_from_looking(client, wrong):
    execution = make("failed")

    with override_settings(I3TASKS=wrong):
        assert listed(client, EXECUTIONS, queue="default") == [execution.pk]
        assert listed(client, TRIES, queue="default") == [execution.tries.get().pk]
        shown(client, page(execution))


def test_a_call_waits_for_the_settings_to_be_mended(client):
    execution = make("failed")

    with override_settings(I3TASKS=None):
        response = act(client, "run_again", execution)

    assert told(response) == ["1 call will run again."]
    assert state_of(execution) == "pending"


def test_django_finds_nothing_wrong_with_the_admin():
    assert admin.site.check(None) == []
