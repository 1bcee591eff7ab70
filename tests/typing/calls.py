"""What a type checker must see of a task; read by mypy, never run."""

from typing import assert_type

from i3tasks_django import ChainHandle, TaskDecorator, TaskMetadata, task


@task
def plain(a: int, *, b: str = "") -> float:
    return a / 2


@TaskDecorator()
def called(a: int) -> str:
    return str(a)


@task(queue_name="heavy", timeout=5)
def with_options(a: int) -> str:
    return str(a)


@task
async def asynchronous(a: int) -> str:
    return str(a)


@task(timeout=5)
async def asynchronous_with_options(a: int) -> str:
    return str(a)


@task(bind=True)
def bound(a: int, task_metadata: TaskMetadata) -> str:
    return f"{a} {task_metadata.id}"


assert_type(plain(1, b="x"), float)
assert_type(plain.delay(1), ChainHandle)
assert_type(called.sync_run(1), str)
assert_type(with_options.using(run_after=5).sync_run(1), str)
assert_type(asynchronous(1), str)
assert_type(asynchronous_with_options.sync_run(1), str)
assert_type(bound(1), str)
bound.delay(1)

plain.delay("one")  # type: ignore[arg-type]
plain.delay(1, c=2)  # type: ignore[call-arg]
called.delay()  # type: ignore[call-arg]
with_options.delay(1, 2)  # type: ignore[call-arg]
