"""The decorator that makes a function a task, and the call."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from asgiref.sync import async_to_sync

from i3tasks_core import options
from i3tasks_core.errors import TaskTimeout
from i3tasks_core.payload import check_arguments
from i3tasks_core.registry import MAX_NAME, TaskDefinition, register
from i3tasks_core.retry import RetryPolicy
from i3tasks_django.handles import ChainHandle

# Modules of tasks are imported while models load, so what needs the models is imported at the call.
if TYPE_CHECKING:
    from i3tasks_django.store import NewCall

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
        func: Callable[P, Any],
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

    def __set_name__(self, owner: type, name: str) -> None:
        if self.definition.name.startswith(f"{owner.__qualname__}."):
            raise TypeError(
                f"@task on the method {owner.__qualname__}.{name}: a task is a function of its module, "
                "and gets what it works on by key"
            )

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.sync_run(*args, **kwargs)

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> ChainHandle:
        """Record the call, to run if and only if the current transaction commits.

        Returns:
            A handle on the recorded call.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON; nothing is written.
            UnknownQueue: the task's queue is not in the settings; nothing is written.
            RuntimeError: the function stands in the script that was started, where no worker finds it.
        """
        from i3tasks_django.delivery import call_later
        from i3tasks_django.runtime import runtime

        call = self._new_call(args, kwargs)
        if self.definition.path == "__main__" and not runtime().config.force_sync:
            raise RuntimeError(
                f"{self.definition.name}() stands in __main__, where no worker looks it up: move it into a "
                "module, the tasks.py of an app"
            )
        return ChainHandle(call_later(call))

    async_run = delay

    def sync_run(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, record it, and give back its return value.

        One try, no retries; whatever the function raises is recorded and goes on to the caller.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON.
            LeaseLost: an ``atomic`` task was taken for dead while it ran; it has left nothing.
        """
        from i3tasks_django.delivery import call_now

        value: R = call_now(self._new_call(args, kwargs))[1]
        return value

    def using(
        self, *, run_after: datetime | timedelta | float | None = None, queue_name: str | None = None
    ) -> Task[P, R]:
        """The same task with other options for the calls made through it.

        Args:
            run_after: not before this moment (aware), or this long after the call (``timedelta`` or seconds).
            queue_name: instead of the task's own queue.

        Raises:
            TypeError: ``run_after`` is neither a moment nor a duration, or ``queue_name`` no text.
            ValueError: ``run_after`` is a datetime without a time zone, or more than ten years away.
        """
        return Task(
            self._func,
            self.definition,
            run_after=self._run_after if run_after is None else options.run_after(run_after),
            queue_name=self._queue_name if queue_name is None else options.queue_name(queue_name),
        )

    def _new_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewCall:
        """The call, with everything about it checked."""
        from i3tasks_django.runtime import runtime
        from i3tasks_django.store import NewCall

        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.definition.full_name}(): {error}") from None
        check_arguments(args, kwargs)
        retries = self.definition.max_retries
        return NewCall(
            task=self.definition,
            args=args,
            kwargs=kwargs,
            queue_name=runtime().queue(self._queue_name).queue_name,
            max_retries=runtime().config.default_max_retries if retries is None else retries,
            run_after=self._run_after,
        )


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
        TypeError: ``func`` is not a function with a name, or an option is of the wrong kind.
        ValueError: an option is out of range, or the function's name is too long.
    """
    given: dict[str, Any] = {
        "bind": options.flag("bind", bind),
        "queue_name": options.queue_name(queue_name),
        "max_retries": options.max_retries(max_retries),
        "retry": options.retry(retry),
        "timeout": options.timeout(timeout),
        "atomic": options.flag("atomic", atomic),
    }
    if func is None:
        return functools.partial(_define, given=given)
    return _define(func, given=given)


task = TaskDecorator


def _define(func: Any, *, given: dict[str, Any]) -> Task[..., Any]:
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


def _thread_timeout(timeout: timedelta | None) -> timedelta | None:
    """For an async task that blocks its own event loop, which then cannot see its time run out."""
    return timeout + timedelta(seconds=1) if timeout else None


def _public_signature(func: Callable[..., Any], *, bind: bool) -> inspect.Signature:
    """What a caller passes: everything but the metadata.

    Raises:
        TypeError: the metadata has no place in the function, or one that positional arguments would take.
    """
    signature = inspect.signature(func)
    if not bind:
        return signature
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    if _METADATA not in signature.parameters and not takes_any:
        raise TypeError(f"{func.__qualname__}() has bind=True but no parameter {_METADATA}: add it")
    places = [name for name, parameter in signature.parameters.items() if parameter.kind in _POSITIONAL]
    if _METADATA in places[:-1]:
        raise TypeError(
            f"{func.__qualname__}(): write {_METADATA} last, or after a *, so that arguments keep places"
        )
    return signature.replace(parameters=[p for name, p in signature.parameters.items() if name != _METADATA])
