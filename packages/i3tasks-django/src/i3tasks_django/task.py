"""The decorator that makes a function a task, and the call."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar, overload

from asgiref.sync import async_to_sync

from i3tasks_core.errors import TaskTimeout
from i3tasks_core.payload import check_arguments
from i3tasks_core.registry import MAX_NAME, TaskDefinition, register
from i3tasks_core.retry import RetryPolicy
from i3tasks_django.handles import ChainHandle

P = ParamSpec("P")
R = TypeVar("R")

_METADATA = "task_metadata"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Task(Generic[P, R]):
    """A function that can be called now, or recorded to be run by somebody else.

    Made by the decorator. Calling it runs the function here and now, as ``sync_run`` does.
    """

    def __init__(
        self,
        func: Callable[P, R],
        definition: TaskDefinition,
        *,
        run_after: datetime | timedelta | None = None,
        queue_name: str | None = None,
    ) -> None:
        functools.update_wrapper(self, func)
        self._func = func
        self._run_after = run_after
        self._queue_name = queue_name or definition.queue_name
        self._signature = _public_signature(func, bind=definition.bind)
        self.definition = definition

    def __repr__(self) -> str:
        return f"<task {self.definition.full_name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.sync_run(*args, **kwargs)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> ChainHandle:
        """Record the call, to run if and only if the current transaction commits.

        Returns:
            A handle on the recorded call.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON; nothing is written.
            UnknownQueue: the task's queue is not in the settings; nothing is written.
        """
        from i3tasks_django.delivery import call_later

        call = self._checked(args, kwargs)
        return ChainHandle(call_later(self._new_call(*call)))

    async_run = delay

    def sync_run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, record it, and give back its return value.

        One try, no retries; whatever the function raises is recorded and goes on to the caller.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON.
        """
        from i3tasks_django.delivery import call_now

        value: R = call_now(self._new_call(*self._checked(args, kwargs)))[1]
        return value

    def using(
        self, *, run_after: datetime | timedelta | None = None, queue_name: str | None = None
    ) -> Task[P, R]:
        """The same task with other options for the calls made through it.

        Args:
            run_after: not before this moment (aware), or this long after the call.
            queue_name: instead of the task's own queue.

        Raises:
            ValueError: ``run_after`` is a datetime without a time zone.
        """
        if isinstance(run_after, datetime) and run_after.tzinfo is None:
            raise ValueError(
                f"run_after={run_after!r} has no time zone: pass an aware datetime such as "
                "django.utils.timezone.now() + timedelta(hours=1), or a timedelta"
            )
        return Task(
            self._func,
            self.definition,
            run_after=run_after if run_after is not None else self._run_after,
            queue_name=queue_name or self._queue_name,
        )

    def _checked(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.definition.full_name}(): {error}") from None
        check_arguments(args, kwargs)
        return args, kwargs

    def _new_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from i3tasks_django.runtime import runtime
        from i3tasks_django.store import NewCall

        retries = self.definition.max_retries
        return NewCall(
            task=self.definition,
            args=args,
            kwargs=kwargs,
            queue_name=runtime().queue(self._queue_name).queue_name,
            max_retries=runtime().config.default_max_retries if retries is None else retries,
            run_after=self._run_after,
        )


@overload
def TaskDecorator(func: Callable[P, R]) -> Task[P, R]: ...
@overload
def TaskDecorator(
    *,
    bind: bool = ...,
    queue_name: str = ...,
    max_retries: int | None = ...,
    retry: RetryPolicy = ...,
    timeout: timedelta | float | None = ...,
    atomic: bool = ...,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def TaskDecorator(  # noqa: N802
    func: Callable[..., Any] | None = None,
    *,
    bind: bool = False,
    queue_name: str = "default",
    max_retries: int | None = None,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    timeout: timedelta | float | None = None,
    atomic: bool = False,
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

    Raises:
        TypeError: ``func`` is not a function.
        ValueError: an option is out of range, or the function's name is too long.
    """
    options: dict[str, Any] = {
        "bind": bind,
        "queue_name": queue_name,
        "max_retries": _checked_retries(max_retries),
        "retry": retry,
        "timeout": _checked_timeout(timeout),
        "atomic": atomic,
    }
    if func is None:
        return functools.partial(_define, options=options)
    return _define(func, options=options)


task = TaskDecorator


def _define(func: Any, *, options: dict[str, Any]) -> Task[..., Any]:
    if not callable(func) or not hasattr(func, "__qualname__"):
        raise TypeError(f"@task takes a function, not {func!r}: write @task or @task(queue_name=…)")
    definition = TaskDefinition(
        path=func.__module__,
        name=func.__qualname__,
        body=_as_sync(func, options["timeout"]) if inspect.iscoroutinefunction(func) else func,
        **{**options, "timeout": None if inspect.iscoroutinefunction(func) else options["timeout"]},
    )
    for part in (definition.path, definition.name):
        if len(part) > MAX_NAME:
            raise ValueError(f"the name {part!r} is longer than {MAX_NAME} characters: shorten it")
    made: Task[..., Any] = Task(func, definition)
    register(definition)
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


def _public_signature(func: Callable[..., Any], *, bind: bool) -> inspect.Signature:
    """What a caller passes: everything but the metadata.

    Raises:
        TypeError: the metadata has no place in the function, or one that positional arguments would take.
    """
    signature = inspect.signature(func)
    if not bind:
        return signature
    names = [name for name, p in signature.parameters.items() if p.kind in _POSITIONAL]
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    if _METADATA not in signature.parameters and not accepts_any:
        raise TypeError(f"{func.__qualname__}() has bind=True but no parameter {_METADATA}: add it")
    if _METADATA in names[:-1]:
        raise TypeError(
            f"{func.__qualname__}(): write {_METADATA} last, or after a *, so that arguments keep places"
        )
    return signature.replace(parameters=[p for name, p in signature.parameters.items() if name != _METADATA])


def _checked_retries(max_retries: Any) -> int | None:
    if max_retries is not None and (not isinstance(max_retries, int) or max_retries < 0):
        raise ValueError(f"max_retries={max_retries!r}: write a whole number, 0 or more, or None")
    return max_retries


def _checked_timeout(timeout: timedelta | float | None) -> timedelta | None:
    if timeout is None:
        return None
    duration = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
    if duration <= timedelta(0):
        raise ValueError(f"timeout={timeout!r}: write a positive timedelta or number of seconds, or None")
    return duration
