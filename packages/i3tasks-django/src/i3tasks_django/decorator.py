"""The decorator that makes a function a task."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from asgiref.sync import async_to_sync

from i3tasks_core import options
from i3tasks_core.errors import TaskTimeout
from i3tasks_core.registry import MAX_NAME, TaskDefinition, register
from i3tasks_core.retry import RetryPolicy
from i3tasks_core.schedule import Cron
from i3tasks_django.composition import Composable, checked
from i3tasks_django.task import Task, remember

P = ParamSpec("P")
R = TypeVar("R")


class _Decorator(Protocol):
    """What ``@task(…)`` gives: it keeps the function's parameters."""

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> Task[P, R]: ...


class _BoundDecorator(Protocol):
    """What ``@task(bind=True, …)`` gives: callers leave task_metadata out, and types cannot say "without"."""

    @overload
    def __call__(self, func: Callable[..., Coroutine[Any, Any, R]], /) -> Task[..., R]: ...
    @overload
    def __call__(self, func: Callable[..., R], /) -> Task[..., R]: ...


@overload
def TaskDecorator(func: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R]: ...
@overload
def TaskDecorator(func: Callable[P, R]) -> Task[P, R]: ...
@overload
def TaskDecorator(
    *,
    bind: Literal[True],
    queue_name: str = ...,
    max_retries: int | None = ...,
    retry: RetryPolicy = ...,
    timeout: timedelta | float | None = ...,
    atomic: bool = ...,
    on_success: Composable | None = ...,
    on_failure: Composable | None = ...,
    cron: str | None = ...,
    timezone: str | None = ...,
) -> _BoundDecorator: ...
@overload
def TaskDecorator(
    *,
    bind: Literal[False] = ...,
    queue_name: str = ...,
    max_retries: int | None = ...,
    retry: RetryPolicy = ...,
    timeout: timedelta | float | None = ...,
    atomic: bool = ...,
    on_success: Composable | None = ...,
    on_failure: Composable | None = ...,
    cron: str | None = ...,
    timezone: str | None = ...,
) -> _Decorator: ...
def TaskDecorator(  # noqa: N802 - the documented name
    func: Callable[..., Any] | None = None,
    *,
    bind: bool = False,
    queue_name: str = "default",
    max_retries: int | None = None,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    timeout: timedelta | float | None = None,
    atomic: bool = False,
    on_success: Composable | None = None,
    on_failure: Composable | None = None,
    cron: str | None = None,
    timezone: str | None = None,
) -> Any:
    """Make a function a task. Fills the registry and does nothing else: no settings, no network.

    Args:
        func: the function, plain or ``async def``.
        bind: the function gets ``task_metadata=``, a ``TaskMetadata``.
        queue_name: where its calls go.
        max_retries: tries after the first; None means the settings' ``default_max_retries``.
        retry: which errors are followed by another try, and after how long.
        timeout: a ``timedelta`` or seconds; a longer run is interrupted by ``TaskTimeout`` and the try
            fails. Python code is interrupted at once, a blocking call in C when it comes back.
        atomic: the body and the record of its success are one database transaction: its own writes
            happen exactly once.
        on_success: runs after every call that succeeded, before anything that ``.then()`` adds: a task, a
            signature (``log.s("sent")``), a chain or a group.
        on_failure: the same, after every call that failed for good.
        cron: when the beat calls it, without arguments: five fields, or six with seconds.
        timezone: whose wall clock ``cron`` is read on; None means the project's ``TIME_ZONE``.

    Raises:
        TypeError: ``func`` is not a function with a name, or an option is of the wrong kind.
        ValueError: an option is out of range, the function's name is too long, or ``cron`` or ``timezone``
            cannot be read.
    """
    given: dict[str, Any] = {
        "bind": options.flag("bind", bind),
        "queue_name": options.queue_name(queue_name),
        "max_retries": options.max_retries(max_retries),
        "retry": options.retry(retry),
        "timeout": options.timeout(timeout),
        "atomic": options.flag("atomic", atomic),
    }
    following = {
        "on_success": checked(on_success, optional=True),
        "on_failure": checked(on_failure, optional=True),
        **_clock(cron, timezone),
    }
    if func is None:
        return functools.partial(_define, given=given, following=following)
    return _define(func, given=given, following=following)


task = TaskDecorator

ASYNC_GRACE = timedelta(seconds=1)
"""So much later a thread interrupts an async task that blocks its own event loop."""


def _clock(cron: str | None, timezone: str | None) -> dict[str, str | None]:
    if cron is None and timezone is not None:
        raise TypeError(f"timezone={timezone!r} without a cron: write both, or neither")
    if cron is not None:
        Cron(cron, "UTC" if timezone is None else timezone)
    return {"cron": cron, "timezone": timezone}


def _define(func: Any, *, given: dict[str, Any], following: dict[str, Any]) -> Task[..., Any]:
    inner = inspect.unwrap(func) if callable(func) else func
    if not inspect.isfunction(inner) or inner.__name__ == "<lambda>" or not hasattr(func, "__qualname__"):
        raise TypeError(f"@task takes a function with a name, not {func!r}: write def …(): and decorate it")
    is_async = inspect.iscoroutinefunction(func)
    definition = TaskDefinition(
        path=func.__module__,
        name=func.__qualname__,
        body=_as_sync(func, given["timeout"]) if is_async else func,
        place=f"{inner.__code__.co_filename}:{inner.__code__.co_firstlineno}",
        **{**given, "timeout": _thread_timeout(given["timeout"]) if is_async else given["timeout"]},
    )
    for part in (definition.path, definition.name):
        if len(part) > MAX_NAME:
            raise ValueError(f"the name {part!r} is longer than {MAX_NAME} characters: shorten it")
    made: Task[..., Any] = Task(func, definition, **following)
    if made.cron is not None:
        made.check_arguments((), {})
    register(definition)
    remember(made)
    return made


def _as_sync(func: Callable[..., Coroutine[Any, Any, Any]], timeout: timedelta | None) -> Callable[..., Any]:
    """The bridge: its event loop ends with the call, and database access stays in the calling thread."""

    @functools.wraps(func)
    async def bounded(*args: Any, **kwargs: Any) -> Any:
        scope = asyncio.timeout(timeout.total_seconds() if timeout else None)
        try:
            async with scope:
                return await func(*args, **kwargs)
        except TimeoutError as error:
            if scope.expired():
                raise TaskTimeout(timeout) from error
            raise

    return async_to_sync(bounded)


def _thread_timeout(timeout: timedelta | None) -> timedelta | None:
    """For an async task that blocks its own event loop, which then cannot see its time run out."""
    return timeout + ASYNC_GRACE if timeout else None
