"""Calls as values: a signature, a chain of them, a group of them, in each other as deep as one likes.

Making one touches neither settings nor database; ``.delay()`` dispatches it, once for each time it is called.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from i3tasks_core.payload import MAX_DEPTH
from i3tasks_core.steps import Fan, Member, Otherwise, Scope, Step, Steps

if TYPE_CHECKING:
    from i3tasks_django.handles import ChainHandle
    from i3tasks_django.models import TaskGroup
    from i3tasks_django.task import Task

MOST_MEMBERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Signature:
    """A call that is still to be made: ``task.s(…)``."""

    task: Task[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def delay(self, *, __i3group__: TaskGroup | None = None) -> ChainHandle:
        """Make the call; see ``Task.delay``."""
        from i3tasks_django.calling import dispatch

        return cast("ChainHandle", dispatch(self.member(), __i3group__))

    def then(self, step: Composable, /, *args: Any, **kwargs: Any) -> Chain:
        """A chain of this call and a step after it."""
        return Chain((self,)).then(step, *args, **kwargs)

    def member(self) -> Member:
        self.task.check_place()
        return Member(steps=(self.task.call(self.args, self.kwargs),), then=steps_of(self.task.on_success))


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps that run one after the other, each when the one before it has succeeded. Never changes."""

    steps: tuple[Composable, ...]
    on_failure: Composable | None = None
    depth: int = field(init=False, repr=False, compare=False, default=1)

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("chain(): write at least one step, as in chain(a.s(1), b.s())")
        _set_depth(self, [*map(checked, self.steps), checked(self.on_failure, optional=True)])

    def delay(self, *, __i3group__: TaskGroup | None = None) -> ChainHandle | TaskGroup:
        """Call the first step and record the others with it, in one transaction.

        Returns:
            A handle on the first step's call; the group, if the chain begins with one.

        Raises:
            UnknownQueue: a step's queue is not in the settings; nothing is written.
            GroupError: the group takes no further member; nothing is written.
        """
        from i3tasks_django.calling import dispatch

        return dispatch(self.member(), __i3group__)

    def then(self, step: Composable, /, *args: Any, **kwargs: Any) -> Chain:
        """A new chain, with one step more."""
        return replace(self, steps=(*self.steps, as_step(step, args, kwargs)))

    def member(self) -> Member:
        *before, last = (member_of(step) for step in self.steps)
        body: Steps = tuple(step for member in before for step in (*member.steps, *member.then)) + last.steps
        if self.on_failure is not None:
            body = (Scope(steps=body, on_failure=steps_of(self.on_failure)),)
        return Member(steps=body, then=last.then)


@dataclass(frozen=True, slots=True)
class Group:
    """Members that run at the same time; the step after a group runs when all of them have succeeded."""

    members: tuple[Composable, ...]
    on_failure: Composable | None = None
    depth: int = field(init=False, repr=False, compare=False, default=1)

    def __post_init__(self) -> None:
        _check_total_count(len(self.members))
        _set_depth(self, [*map(checked, self.members), checked(self.on_failure, optional=True)])

    def delay(self, *, __i3group__: TaskGroup | None = None) -> TaskGroup:
        """Call all members, in one transaction.

        Raises:
            UnknownQueue: a member's queue is not in the settings; nothing is written.
            GroupError: the group takes no further member; nothing is written.
        """
        from i3tasks_django.calling import dispatch

        return cast("TaskGroup", dispatch(self.member(), __i3group__))

    def then(self, step: Composable, /, *args: Any, **kwargs: Any) -> Chain:
        """A chain of this group and a step after it."""
        return Chain((self,)).then(step, *args, **kwargs)

    def member(self) -> Member:
        return Member(steps=(self._fan(),))

    def _fan(self) -> Step:
        members = tuple(member_of(member) for member in self.members)
        return Fan(members=members, on_failure=steps_of(self.on_failure))


Composable: TypeAlias = "Task[..., Any] | Signature | Chain | Group"


def chain(*steps: Composable, on_failure: Composable | None = None) -> Chain:
    """Steps that run one after the other.

    Args:
        steps: tasks, signatures (``a.s(1)``), chains or groups.
        on_failure: runs once, when one of the steps fails for good; the others then never run.

    Raises:
        TypeError: something that cannot be a step.
        ValueError: no steps, or more than 50 levels of nesting.
    """
    return Chain(steps, on_failure)


def group(*members: Composable | Iterable[Composable], on_failure: Composable | None = None) -> Group:
    """Members that run at the same time: ``group(a.s(), b.s())`` or ``group(item.s(i) for i in items)``.

    Args:
        members: tasks, signatures, chains or groups, or one iterable of them.
        on_failure: runs once, after the last member has ended, when one of them failed for good.

    Raises:
        TypeError: something that cannot be a member.
        ValueError: more than 50 levels of nesting.
    """
    return Group(_flat(members), on_failure)


def as_step(value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Composable:
    """A step as ``.then()`` takes it.

    Raises:
        TypeError: not a step, or one that takes no (further) arguments.
    """
    from i3tasks_django.task import Task

    if isinstance(value, Task):
        return value.s(*args, **kwargs)
    if args or kwargs:
        raise TypeError(
            f"then(): {value!r} has its arguments already: write only the task itself before them"
        )
    return cast("Composable", checked(value))


def checked(value: Any, *, optional: bool = False) -> Any:
    """The value, if it can be a step.

    Raises:
        TypeError: it cannot, or it is a task whose arguments are missing.
    """
    from i3tasks_django.task import Task

    if isinstance(value, Task):
        return value.s()
    if isinstance(value, Signature | Chain | Group) or (optional and value is None):
        return value
    raise TypeError(f"{value!r} cannot be a step: write a task, task.s(…), chain(…) or group(…)")


def member_of(value: Composable) -> Member:
    made: Member = checked(value).member()
    return made


def steps_of(value: Composable | None) -> Steps:
    """The steps of a value that nobody waits for; none for None."""
    if value is None:
        return ()
    member = member_of(value)
    return (*member.steps, *member.then)


def create_group(callback: Any, total_count: Any, on_failure: Any) -> TaskGroup:
    """See ``TaskGroup.create``."""
    from i3tasks_django.calling import open_group

    return open_group(_chain_of(callback, on_failure), _check_total_count(total_count))


def dispatch_group(signatures: Any, callback: Any, on_failure: Any) -> TaskGroup:
    """See ``TaskGroup.dispatch``."""
    from i3tasks_django.calling import dispatch

    value: Group | Chain = Group(_flat((signatures,)), on_failure)
    if callback is not None:
        value = Chain((value, callback))
    return cast("TaskGroup", dispatch(value.member(), None))


def then_group(group: TaskGroup, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
    """See ``TaskGroup.then``."""
    from i3tasks_django.calling import add_step
    from i3tasks_django.models import TaskGroup

    return add_step(TaskGroup, group.pk, steps_of(as_step(step, args, kwargs)))


def _chain_of(callback: Composable | None, on_failure: Composable | None) -> Steps:
    listening = () if on_failure is None else (Otherwise(steps=steps_of(on_failure)),)
    return (*listening, *steps_of(callback))


def _flat(members: tuple[Any, ...]) -> tuple[Composable, ...]:
    """The members, also when they come as one iterable."""
    from i3tasks_django.task import Task

    if len(members) == 1 and not isinstance(members[0], Task | Signature | Chain | Group):
        if not isinstance(members[0], Iterable) or isinstance(members[0], str | bytes | dict):
            raise TypeError(f"{members[0]!r} cannot be the members of a group: write task.s(…) for each")
        return tuple(members[0])
    return members


def _check_total_count(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= MOST_MEMBERS:
        raise ValueError(
            f"total_count={given!r}: write how many members the group will have, from 0 to {MOST_MEMBERS:,}"
        )
    return given


def _set_depth(value: Chain | Group, inner: list[Any]) -> None:
    depth = 1 + max((getattr(item, "depth", 0) for item in inner), default=0)
    if depth > MAX_DEPTH:
        raise ValueError(f"chains and groups are nested in each other more than {MAX_DEPTH} levels deep")
    object.__setattr__(value, "depth", depth)
