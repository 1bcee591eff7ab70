"""How a try ended and what follows, as a value made by a named constructor."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from i3tasks_core.payload import MAX_MESSAGE, MAX_TRACEBACK, storable_text
from i3tasks_core.registry import MAX_NAME
from i3tasks_core.states import TryState


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """What went wrong, as text that any database stores."""

    error_class: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException, *, skip_frames: int = 0) -> Error:
        """Describe an exception, also one that does not want to be described.

        Args:
            error: the exception.
            skip_frames: outermost frames to leave out: ours, which tell the reader nothing.
        """
        return cls(
            error_class=storable_text(_class_name(type(error)), MAX_NAME),
            message=storable_text(_text(error), MAX_MESSAGE),
            traceback=storable_text(_traceback(error, skip_frames), MAX_TRACEBACK),
        )


LOST = Error(error_class="Lost", message="the worker stopped renewing its lease: killed, or cut off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One try's end. ``retry_after`` set: another try follows; else the execution ends with it."""

    state: TryState
    result: Any = None
    error: Error | None = None
    retry_after: timedelta | None = None


def succeeded(result: Any) -> Outcome:
    return Outcome(state=TryState.SUCCESS, result=result)


def failed(error: Error) -> Outcome:
    return Outcome(state=TryState.FAILED, error=error)


def retried(error: Error, after: timedelta) -> Outcome:
    return Outcome(state=TryState.FAILED, error=error, retry_after=after)


def lost(*, has_retries_left: bool) -> Outcome:
    """The worker fell silent. The next try starts at once: the wait for the lease was delay enough."""
    return Outcome(state=TryState.LOST, error=LOST, retry_after=timedelta(0) if has_retries_left else None)


def unregistered(full_name: str) -> Outcome:
    return failed(
        Error(
            error_class="Unregistered",
            message=f"no task {full_name!r} is registered here: import its module in an app's tasks.py, "
            "or deploy the release that has it",
        )
    )


def _class_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 - a task's own __str__ may raise anything
        return f"<its text cannot be had: {type(second).__name__}>"


def _traceback(error: BaseException, skip_frames: int) -> str:
    tb = error.__traceback__
    for _ in range(skip_frames):
        tb = tb.tb_next if tb is not None and tb.tb_next is not None else tb
    try:
        return "".join(traceback.format_exception(type(error), error, tb))
    except BaseException:  # noqa: BLE001 - formatting calls __str__ and __repr__ of the task's own objects
        return "".join(traceback.format_tb(tb)) + f"{_class_name(type(error))}: {_text(error)}\n"
