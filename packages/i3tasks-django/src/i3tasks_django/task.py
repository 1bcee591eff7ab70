"""A task, and the ways to call it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from copy import copy, deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from i3tasks_core import options
from i3tasks_core.errors import ArgumentError
from i3tasks_core.payload import check_arguments
from i3tasks_core.registry import TaskDefinition
from i3tasks_core.steps import Call, Member
from i3tasks_django.composition import Chain, Composable, Signature, steps_of
from i3tasks_django.handles import ChainHandle

# Modules of tasks are imported while models load, so what needs the models is imported at the call.
if TYPE_CHECKING:
    from i3tasks_django.models import TaskGroup

P = ParamSpec("P")
R = TypeVar("R")

_METADATA = "task_metadata"
_GROUP = "__i3group__"
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
        on_success: Composable | None = None,
        on_failure: Composable | None = None,
        cron: str | None = None,
        timezone: str | None = None,
    ) -> None:
        functools.update_wrapper(self, func)
        self._func = func
        self._run_after: datetime | timedelta | None = None
        self._queue_name = definition.queue_name
        self._signature = _public_signature(func, bind=definition.bind)
        self._places = _places(self._signature)
        self.definition = definition
        self.on_success = on_success
        self.on_failure = on_failure
        self.cron = cron
        self.timezone = timezone

    def __repr__(self) -> str:
        return f"<task {self.definition.full_name}>"

    def __set_name__(self, owner: type, name: str) -> None:
        if self.definition.name.startswith(f"{owner.__qualname__}."):
            raise TypeError(
                f"@task on the method {owner.__qualname__}.{name}: a task is a function of its module, "
                "and gets what it works on by key"
            )

    @property
    def queue_name(self) -> str:
        """Where its calls go."""
        return self._queue_name

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.sync_run(*args, **kwargs)

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> ChainHandle:
        """Record the call, to run if and only if the current transaction commits.

        ``__i3group__=group`` beside the arguments makes it a member of that ``TaskGroup``.

        Returns:
            A handle on the recorded call.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON; nothing is written.
            UnknownQueue: the task's queue is not in the settings; nothing is written.
            GroupError: the group takes no further member; nothing is written.
            RuntimeError: the function stands in the script that was started, where no worker finds it.
        """
        from i3tasks_django.calling import dispatch

        group = _taken_group(kwargs)
        self.check_arguments(args, kwargs)
        return cast("ChainHandle", dispatch(Signature(self, args, kwargs).member(), group))

    async_run = delay

    def sync_run(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, record it, and give back its return value.

        One try, no retries; whatever the function raises is recorded and goes on to the caller. What follows
        it (``on_success``, the callback of its group) is called as after any other run.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON.
            GroupError: the group takes no further member; nothing is run.
            LeaseLost: an ``atomic`` task was taken for dead while it ran; it has left nothing.
        """
        from i3tasks_django.calling import call_now

        group = _taken_group(kwargs)
        self.check_arguments(args, kwargs)
        member = Member(steps=(self.call(args, kwargs),), then=steps_of(self.on_success))
        return cast("R", call_now(self.definition, member, group))

    def s(self, /, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """The call as a value, for chains and groups.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is not JSON.
        """
        if _GROUP in kwargs:
            raise TypeError(f"{_GROUP} is no argument of the call: pass it to .delay()")
        self.check_arguments(args, kwargs)
        # A copy: what is dispatched later, perhaps twice, is what was written here.
        return Signature(self, deepcopy(args), deepcopy(kwargs))

    def build_chain(self, /, *args: P.args, **kwargs: P.kwargs) -> Chain:
        """A chain that begins with this call; nothing is dispatched."""
        return Chain((self.s(*args, **kwargs),))

    def delay_many(self, /, calls: Iterable[tuple[Any, ...] | list[Any] | dict[str, Any]]) -> int:
        """Record very many calls: one transaction, and one message batch, for every 1,000.

        Args:
            calls: for each call its positional arguments (a tuple or list) or its keyword arguments (a
                dict); may be a generator, of which no more than one batch is in memory. Inside a
                transaction all of them belong to it.

        Returns:
            How many calls were recorded.

        Raises:
            TypeError: an item's arguments do not fit. It says which one, and how many are recorded already.
            UnknownQueue: the task's queue is not in the settings; nothing is written.
        """
        from i3tasks_django.calling import call_many

        return call_many(Signature(self, (), {}).member(), self._written(calls))

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
        made = copy(self)  # and not a new one: to read the signature again would cost each such call its time
        if run_after is not None:
            made._run_after = options.run_after(run_after)  # noqa: SLF001 - our own kind
        if queue_name is not None:
            made._queue_name = options.queue_name(queue_name)  # noqa: SLF001 - our own kind
        made.cron = made.timezone = None
        return made

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The call with everything that the settings say about it.

        Raises:
            UnknownQueue: the task's queue is not in the settings.
        """
        from i3tasks_django.runtime import runtime

        current, definition = runtime(), self.definition
        retries = definition.max_retries
        return Call(
            task_path=definition.path,
            task_name=definition.name,
            args=args,
            kwargs=kwargs,
            queue_name=current.queue(self._queue_name).queue_name,
            max_retries=current.config.default_max_retries if retries is None else retries,
            run_after=self._run_after,
            on_failure=steps_of(self.on_failure),
        )

    def check_place(self) -> None:
        """See that a worker will find the function.

        Raises:
            RuntimeError: it stands in the script that was started.
        """
        from i3tasks_django.runtime import runtime

        if self.definition.path == "__main__" and not runtime().config.force_sync:
            raise RuntimeError(
                f"{self.definition.name}() stands in __main__, where no worker looks it up: move it into a "
                "module, the tasks.py of an app"
            )

    def check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
        """See that a call with these arguments can be made.

        Returns:
            Both as JSON.

        Raises:
            TypeError: they do not fit the function, or one of them is not JSON.
        """
        if kwargs or len(args) not in self._places:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.definition.full_name}(): {error}") from None
        return check_arguments(args, kwargs)

    def _written(self, calls: Iterable[Any]) -> Iterator[tuple[str, str]]:
        """The arguments as JSON: a generator may fill the same list again before its batch is written."""
        from i3tasks_django.calling import BATCH

        for index, given in enumerate(calls):
            try:
                yield self.check_arguments(*_arguments(given))
            except TypeError as error:
                written = index // BATCH * BATCH
                raise ArgumentError(
                    f"delay_many(): item {index:,}:",
                    f"{error}; the {written:,} calls before its batch are recorded",
                ) from None


_known: dict[tuple[str, str], Task[..., Any]] = {}


def remember(task: Task[..., Any]) -> None:
    """Make it known by its name; a later definition of the same name replaces the earlier."""
    _known[task.definition.path, task.definition.name] = task


def find_task(path: str, name: str) -> Task[..., Any] | None:
    return _known.get((path, name))


def known_tasks() -> list[Task[..., Any]]:
    """All tasks of this process, by name."""
    return [_known[key] for key in sorted(_known)]


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


def _places(signature: inspect.Signature) -> range:
    """How many arguments fit by their places alone: to bind those would only cost a call its time."""
    parameters = signature.parameters.values()
    required = [each.kind for each in parameters if each.default is each.empty]
    if inspect.Parameter.KEYWORD_ONLY in required:
        return range(0)
    most = sum(each.kind in _POSITIONAL for each in parameters)
    if inspect.Parameter.VAR_POSITIONAL in required:
        most = sys.maxsize
    return range(sum(kind in _POSITIONAL for kind in required), most + 1)


def _taken_group(kwargs: dict[str, Any]) -> TaskGroup | None:
    """The group among the keyword arguments; it is not one of the function's."""
    group: TaskGroup | None = kwargs.pop(_GROUP, None)
    return group


def _arguments(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, tuple | list):
        return tuple(given), {}
    if isinstance(given, dict):
        return (), given
    kind = type(given).__name__  # not the value: an argument belongs into no message
    raise TypeError(f"a {kind}: write a tuple of arguments, (x,) for one, or a dict of keyword arguments")
