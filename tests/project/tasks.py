"""Tasks that the tests call. What they saw goes into a file, where other processes' tests can read it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from django.contrib.auth.models import Group
from django.db import connection, transaction

from i3tasks_django import Discard, Retry, RetryPolicy, TaskDecorator, TaskMetadata, task

QUICK = RetryPolicy()


def note(path: str, line: str) -> None:
    """Append a line in one write, so that processes do not mix theirs."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@TaskDecorator
def add(a: int, b: int) -> int:
    return a + b


@task(queue_name="heavy")
def add_heavy(a: int, b: int) -> int:
    return a + b


@task(queue_name="heavy")
def write(path: str, line: str) -> None:
    note(path, line)


@task(queue_name="heavy")
def write_slowly(path: str, line: str, seconds: float) -> None:
    note(path, f"start {line}")
    time.sleep(seconds)
    note(path, f"end {line}")


@task(bind=True)
def who_am_i(task_metadata: TaskMetadata) -> dict[str, object]:
    return {
        "id": str(task_metadata.id),
        "try_number": task_metadata.try_number,
        "queue_name": task_metadata.queue_name,
        "task_name": task_metadata.task_name,
        "is_cancelled": task_metadata.is_cancelled(),
    }


@task
def fail(text: str = "no luck") -> None:
    raise ValueError(text)


@task(retry=RetryPolicy(no_retry_for=(SyntaxError,)))
def fail_for_good() -> None:
    raise SyntaxError("not Python")


@task(retry=RetryPolicy(retry_for=(OSError,)))
def fail_unlisted() -> None:
    raise ValueError("not an OSError")


@task
def discard() -> None:
    raise Discard("nobody wants it")


@task
def ask_again(seconds: float) -> None:
    raise Retry(after=seconds)


@task(max_retries=2)
def succeed_at_last(path: str) -> int:
    note(path, "try")
    tries = len(Path(path).read_text().splitlines())
    if tries < 2:
        raise RuntimeError("not yet")
    return tries


@task(timeout=0.2)
def sleep_long() -> None:
    for _ in range(1000):
        time.sleep(0.01)


@task
async def add_async(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@task(timeout=0.1)
async def sleep_async() -> None:
    await asyncio.sleep(30)


@task
async def count_groups_async() -> int:
    return await Group.objects.acount()


@task
def give_back_an_object() -> object:
    return object()


@task(atomic=True)
def make_group(name: str, *, then_fail: bool = False) -> str:
    Group.objects.create(name=name)
    if then_fail:
        raise ValueError("after the write")
    return name


@task
def leave_a_transaction_open() -> None:
    transaction.atomic().__enter__()
    Group.objects.create(name="never committed")


@task
def begin_by_hand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


@task
def change_the_session() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET search_path TO nowhere")
            cursor.execute("SET default_transaction_read_only = on")


@task
def close_the_raw_connection() -> None:
    connection.ensure_connection()
    connection.connection.close()


@task(atomic=True)
def leave_an_inner_block_open() -> None:
    Group.objects.create(name="never committed")
    transaction.atomic().__enter__()


@task(atomic=True)
def close_a_block_of_somebody_else() -> None:
    Group.objects.create(name="never committed")
    block = transaction.atomic()
    block.__enter__()
    block.__exit__(None, None, None)
    block.__exit__(None, None, None)


@task
def divide_in_the_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0" if connection.vendor == "postgresql" else "SELECT 1 FROM nowhere")


class HostileError(Exception):
    @property
    def __class__(self):  # type: ignore[override]
        raise RuntimeError("no class")


@task(max_retries=0)
def raise_something_hostile() -> None:
    raise HostileError


@task
def exit_the_interpreter() -> None:
    raise SystemExit(3)


@task
def nothing() -> None: ...


@task
def log_sent(text: str = "sent") -> str:
    return text


@task(on_success=log_sent)
def send(text: str = "hello") -> str:
    return text


@task
def report_failure() -> str:
    return "reported"


@task(max_retries=0, on_failure=report_failure, on_success=log_sent)
def send_or_report(*, fails: bool = False) -> str:
    if fails:
        raise ValueError("not sent")
    return "sent"


@task(max_retries=0)
def break_down(text: str = "broken") -> None:
    raise ValueError(text)


@task(bind=True)
def look_around(task_metadata: TaskMetadata) -> dict[str, object]:
    """Everything a step can learn about what came before it."""
    previous, group = task_metadata.previous, task_metadata.group
    return {
        "parent": str(task_metadata.parent),
        "previous": previous
        and [previous.task, previous.state, previous.result, previous.error_class, previous.error_message],
        "group": group and [str(group.pk), group.status, group.results()],
        "failures": group
        and [[f.task, f.args, f.kwargs, f.state, f.error_message] for f in group.failures()],
    }


@task(bind=True)
def hear(task_metadata: TaskMetadata) -> list[list[str]]:
    return [[failure.task, failure.error_message] for failure in task_metadata.failures]


@task
def nest(value: list[object]) -> object:
    return value


@task(atomic=True)
def look_and_wait(number: int) -> int:
    """Its transaction has a snapshot from before the others' ends."""
    Group.objects.count()
    time.sleep(0.05)
    return number


@task(max_retries=0)
def read(path: str) -> str:
    return Path(path).read_text()


@task(bind=True, max_retries=2)
def flaky(name: str, failures: int, task_metadata: TaskMetadata) -> str:
    """Fails in as many of its first tries as it is told."""
    if task_metadata.try_number <= failures:
        raise RuntimeError(f"{name} fails in try {task_metadata.try_number}")
    return name


# Workers import only an app's tasks.py.
import project.fault_tasks  # noqa: E402
import project.misbehaving  # noqa: E402
import project.stumbling  # noqa: E402, F401
