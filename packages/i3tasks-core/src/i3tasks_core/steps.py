"""What is still to come after a call, as data: stored with the call, read when the call has ended.

A chain is a tuple of steps. Two of them run nothing and only hear how it went: ``Join`` counts a member of a
group, ``Otherwise`` holds what runs instead when something before it fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that has passed every check.

    Attributes:
        run_after: not before this moment (aware), or this long after the step's turn, or at once.
        on_failure: what runs when it fails for good.
    """

    task_path: str
    task_name: str
    args: Sequence[Any] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    queue_name: str
    max_retries: int
    run_after: datetime | timedelta | None = None
    on_failure: Steps = ()

    @property
    def full_name(self) -> str:
        return f"{self.task_path}.{self.task_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A chain with an ``on_failure`` of its own, which hears of its own steps only."""

    steps: Steps
    on_failure: Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a group: the steps that count, and those that follow them on their own."""

    steps: Steps
    then: Steps = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """A group; the chain goes on when all members have succeeded."""

    members: tuple[Member, ...]
    on_failure: Steps = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """The end of a group's member."""

    group_id: UUID
    member_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """What runs when something before it fails for good; passed by when all went well."""

    steps: Steps


Step: TypeAlias = Call | Scope | Fan | Join | Otherwise
Steps: TypeAlias = tuple[Step, ...]


def next_of(steps: Steps) -> tuple[Call | Fan | Join | None, Steps]:
    """The step whose turn it is when all before it went well, and what comes after it."""
    while steps:
        head, rest = steps[0], steps[1:]
        if isinstance(head, Otherwise):
            steps = rest
        elif isinstance(head, Scope):
            steps = (*head.steps, Otherwise(steps=head.on_failure), *rest)
        elif isinstance(head, Join):
            return head, rest
        else:
            return head, (Otherwise(steps=head.on_failure), *rest) if head.on_failure else rest
    return None, ()


def listeners(steps: Steps) -> Iterator[Join | Otherwise]:
    """Those that hear that something before them has failed."""
    return (step for step in steps if isinstance(step, Join | Otherwise))


def unheard(steps: Steps) -> Steps:
    """The steps that are left when the listeners have heard: each hears once."""
    return tuple(step for step in steps if not isinstance(step, Join | Otherwise))


def membership(steps: Steps) -> tuple[Join | None, bool]:
    """The group that waits for these steps, and whether it waits for nothing after what comes before them."""
    is_last = True
    for step in steps:
        if isinstance(step, Join):
            return step, is_last
        is_last = is_last and isinstance(step, Otherwise)
    return None, False


def call_names(steps: Steps) -> list[str]:
    """The tasks that these steps call, for people to read."""
    found: list[str] = []
    for step in steps:
        if isinstance(step, Call):
            found.append(step.full_name)
        elif isinstance(step, Scope):
            found += call_names(step.steps)
        elif isinstance(step, Fan):
            found += [name for member in step.members for name in call_names((*member.steps, *member.then))]
    return found


def hurried(steps: Steps) -> Steps:
    """The same steps with one try each and nothing to wait for: they run here and now, or not at all."""
    return tuple(_hurried(step) for step in steps)


def _hurried(step: Step) -> Step:
    if isinstance(step, Call):
        return replace(step, max_retries=0, run_after=None, on_failure=hurried(step.on_failure))
    if isinstance(step, Scope):
        return Scope(steps=hurried(step.steps), on_failure=hurried(step.on_failure))
    if isinstance(step, Fan):
        members = tuple(Member(steps=hurried(m.steps), then=hurried(m.then)) for m in step.members)
        return Fan(members=members, on_failure=hurried(step.on_failure))
    if isinstance(step, Otherwise):
        return Otherwise(steps=hurried(step.steps))
    return step


def dump(steps: Steps) -> list[dict[str, Any]]:
    """The steps as JSON."""
    return [_dump(step) for step in steps]


def load(stored: Sequence[dict[str, Any]]) -> Steps:
    """The steps that ``dump`` made JSON of."""
    return tuple(_load(step) for step in stored)


def _dump(step: Step) -> dict[str, Any]:
    if isinstance(step, Call):
        return _dump_call(step)
    if isinstance(step, Scope):
        return {"chain": dump(step.steps), "on_failure": dump(step.on_failure)}
    if isinstance(step, Fan):
        members = [{"steps": dump(m.steps), "then": dump(m.then)} for m in step.members]
        return {"group": members, "on_failure": dump(step.on_failure)}
    if isinstance(step, Join):
        return {"join": step.group_id.hex, "number": step.member_number}
    return {"otherwise": dump(step.steps)}


def _load(stored: dict[str, Any]) -> Step:
    if "call" in stored:
        return _load_call(stored)
    if "chain" in stored:
        return Scope(steps=load(stored["chain"]), on_failure=load(stored["on_failure"]))
    if "group" in stored:
        members = tuple(Member(steps=load(m["steps"]), then=load(m["then"])) for m in stored["group"])
        return Fan(members=members, on_failure=load(stored["on_failure"]))
    if "join" in stored:
        return Join(group_id=UUID(stored["join"]), member_number=stored["number"])
    return Otherwise(steps=load(stored["otherwise"]))


def _dump_call(call: Call) -> dict[str, Any]:
    stored: dict[str, Any] = {
        "call": [call.task_path, call.task_name],
        "args": list(call.args),
        "kwargs": call.kwargs,
        "queue": call.queue_name,
        "retries": call.max_retries,
    }
    if isinstance(call.run_after, timedelta):
        stored["after"] = call.run_after.total_seconds()
    elif call.run_after is not None:
        stored["at"] = call.run_after.isoformat()
    if call.on_failure:
        stored["on_failure"] = dump(call.on_failure)
    return stored


def _load_call(stored: dict[str, Any]) -> Call:
    run_after: datetime | timedelta | None = None
    if "after" in stored:
        run_after = timedelta(seconds=stored["after"])
    elif "at" in stored:
        run_after = datetime.fromisoformat(stored["at"])
    path, name = stored["call"]
    return Call(
        task_path=path,
        task_name=name,
        args=stored["args"],
        kwargs=stored["kwargs"],
        queue_name=stored["queue"],
        max_retries=stored["retries"],
        run_after=run_after,
        on_failure=load(stored.get("on_failure", ())),
    )
