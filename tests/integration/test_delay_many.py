"""``delay_many``: very many calls, a thousand in a transaction and a message batch, no more in memory."""

from __future__ import annotations

import gc
import weakref
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import messages
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_django import ArgumentError, UnknownQueue
from i3tasks_django.models import TaskExecution, TaskExecutionTry
from project import tasks

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def published(monkeypatch):
    """The sizes of the message batches that Pub/Sub was handed."""
    sizes: list[int] = []
    monkeypatch.setattr(Publisher, "publish", lambda _self, _topic, batch: sizes.append(len(batch)))
    return sizes


def test_every_item_is_a_call(published):
    assert tasks.add.delay_many([(1, 2), [3, 4], {"a": 5, "b": 6}]) == 3
    messages.deliver_all()

    assert messages.called() == ["add success 3", "add success 7", "add success 11"]
    assert published == [3]


NOW = timezone.now()
VARIANTS = {
    "plain": tasks.log_sent,
    "another queue": tasks.log_sent.using(queue_name="heavy"),
    "later": tasks.log_sent.using(run_after=3_600),
    "at a moment": tasks.log_sent.using(run_after=NOW + timedelta(hours=2)),
    "with a step after it": tasks.send,
    "with a step after it, later": tasks.send.using(run_after=timedelta(hours=1)),
}
TEXTS = [(), ("ünï\u2028 %s {x} \\ \"'",), ["plain"], ("",)]
NAMED = [{"text": "\U0001f600 %(a)s"}, {}]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("calls", [TEXTS, [*TEXTS, *NAMED], NAMED, TEXTS[:1]])
def test_the_rows_are_those_of_single_calls(published, variant, calls):
    chosen = VARIANTS[variant]
    for each in calls:
        chosen.delay(**each) if isinstance(each, dict) else chosen.delay(*each)
    alone = rows_in_order()
    rung = sum(published)
    chosen.delay_many(calls)

    assert rows_in_order() == alone * 2
    assert sum(published) == rung * 2


def test_steps_on_failure_are_those_of_a_single_call(published):
    tasks.send_or_report.delay(fails=True)
    tasks.send_or_report.delay_many([{"fails": True}])

    first, second = rows_in_order()
    assert first == second
    assert len(first["chain"]) == 2


def rows_in_order() -> list[dict[str, Any]]:
    """What is recorded of each call and its try, but for what is only its own; moments in hours."""
    executions = TaskExecution.objects.order_by("pk").annotate(try_after=F("tries__run_after"))
    return [_comparable(row) for row in executions.values(*_COLUMNS, "try_after")]


_OF_ONE = ("id", "created_at")
_COLUMNS = [
    *(field.attname for field in TaskExecution._meta.concrete_fields if field.name not in _OF_ONE),
    *(
        f"tries__{name}"
        for name in ("try_number", "state", "publish_count", "fence", "worker", "error_class", "traceback")
    ),
]


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    after = row["try_after"]
    return row | {"try_after": after and round((after - NOW) / timedelta(hours=1))}


def test_a_thousand_make_a_batch(published):
    assert tasks.add.delay_many((number, 0) for number in range(2_500)) == 2_500

    assert published == [1_000, 1_000, 500]
    assert TaskExecution.objects.count() == TaskExecutionTry.objects.filter(publish_count=1).count() == 2_500
    assert sorted(args[0] for args in TaskExecution.objects.values_list("task_args", flat=True)) == list(
        range(2_500)
    )


def test_a_batch_is_a_handful_of_statements(published):
    tasks.nothing.delay()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        tasks.add.delay_many((number, 0) for number in range(1_000))

    # BEGIN and COMMIT among them; SQLite's executemany is one call and a thousand inserts.
    writes = [
        query["sql"] for query in queries if query["sql"].lstrip().startswith(("INSERT", "WITH", "UPDATE"))
    ]
    assert len(writes) <= (2 if connection.vendor == "postgresql" else 4), writes


def test_no_more_than_a_batch_is_in_memory(published):
    class Arguments(list):
        pass

    alive = weakref.WeakSet()
    most = 0

    def calls():
        nonlocal most
        for number in range(3_000):
            gc.collect() if number % 500 == 0 else None
            most = max(most, len(alive))
            arguments = Arguments([number])
            alive.add(_Token(arguments))
            yield (number, 0)

    class _Token:
        def __init__(self, arguments):
            arguments.append(self)

    assert tasks.add.delay_many(calls()) == 3_000
    assert most <= 1_100


def test_inside_a_transaction_all_belong_to_it(published):
    with transaction.atomic():
        tasks.add.delay_many((number, 0) for number in range(1_500))
        transaction.set_rollback(True)

    assert not TaskExecution.objects.exists()
    assert published == []

    with transaction.atomic():
        tasks.add.delay_many((number, 0) for number in range(1_500))
        assert published == []
    assert published == [1_000, 500]


@pytest.mark.parametrize("wrong", [7, "ab", None])
def test_an_item_that_is_not_arguments_is_named(published, wrong):
    with pytest.raises(ArgumentError, match=r"item 1: .*: write a tuple of arguments") as raised:
        tasks.add.delay_many([(1, 2), wrong])
    assert "the 0 calls before its batch are recorded" in str(raised.value)
    assert not TaskExecution.objects.exists()


def test_an_item_that_is_not_arguments_is_not_repeated(published):
    with pytest.raises(ArgumentError, match=r"item 0: a str: write a tuple") as raised:
        tasks.log_sent.delay_many(["hunter2"])
    assert "hunter2" not in str(raised.value)


def test_a_wrong_item_says_how_many_are_recorded_already(published):
    def calls():
        yield from ((number, 0) for number in range(1_100))
        yield (1,)

    with pytest.raises(
        ArgumentError, match=r"item 1,100: .*missing a required argument: 'b'; the 1,000 calls"
    ):
        tasks.add.delay_many(calls())
    assert TaskExecution.objects.count() == 1_000


def test_an_unknown_queue_writes_nothing(published):
    with pytest.raises(UnknownQueue):
        tasks.add.using(queue_name="nowhere").delay_many([(1, 2)])
    assert not TaskExecution.objects.exists()


def test_a_generator_may_fill_the_same_dict_again(published):
    def calls():
        arguments = {"a": 0, "b": [0]}
        for number in range(3):
            arguments["a"] = arguments["b"][0] = number
            yield arguments
        inner = [7]
        yield (1, inner)
        inner.append({7})  # which could not be stored any more

    assert tasks.add.delay_many(calls()) == 4
    recorded = TaskExecution.objects.order_by("pk").values_list("task_args", "task_kwargs")
    assert list(recorded) == [
        *(([], {"a": number, "b": [number]}) for number in range(3)),
        ([1, [7]], {}),
    ]


def test_an_error_of_the_generator_is_the_callers(published):
    def calls():
        yield (1, 2)
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        tasks.add.delay_many(calls())


def test_on_success_follows_each(published):
    tasks.send.delay_many([("a",), ("b",)])
    messages.deliver_all()

    assert sorted(messages.called()) == ["log_sent success 'sent'"] * 2 + [
        "send success 'a'",
        "send success 'b'",
    ]


def test_delayed_calls_wait(published):
    tasks.add.using(run_after=60).delay_many([(1, 2), (3, 4)])

    assert published == []
    assert all(attempt.run_after == attempt.next_publish_at for attempt in TaskExecutionTry.objects.all())


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_delay_of_nothing_rings_at_once(published, seconds):
    hurried = tasks.add.using(run_after=60).using(run_after=seconds)
    hurried.delay(1, 2)
    hurried.delay_many([(1, 2), (3, 4)])

    assert published == [1, 2]
    assert set(TaskExecutionTry.objects.values_list("run_after", "publish_count")) == {(None, 1)}


def test_force_sync_runs_them_at_once(published, i3tasks):
    i3tasks(force_sync=True)

    assert tasks.add.delay_many([(1, 2), (3, 4)]) == 2
    assert messages.called() == ["add success 3", "add success 7"]


def test_long_arguments_are_cut_into_statements_that_the_database_takes(published):
    long = "x" * 200_000
    assert tasks.log_sent.delay_many((long,) for _ in range(100)) == 100
    assert TaskExecution.objects.count() == 100
