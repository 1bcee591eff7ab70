"""Run one claimed try and say what should happen next, as a value. Touches no store and no network."""

from __future__ import annotations

from contextvars import copy_context
from datetime import timedelta
from typing import Any

from i3tasks_core import outcome
from i3tasks_core.claim import Claim, TaskMetadata
from i3tasks_core.deadline import within
from i3tasks_core.errors import LONGEST_DELAY, Discard, Retry
from i3tasks_core.outcome import Error, Outcome
from i3tasks_core.payload import check_result
from i3tasks_core.registry import TaskDefinition

_OUR_FRAMES = 2  # run and call, in every traceback


def run(claim: Claim, task: TaskDefinition, metadata: TaskMetadata | None) -> Outcome:
    """The task's outcome; nothing that user code does or raises gets past here.

    Nor does what it sets in its context, Django's language and time zone among it: threads run many tasks.
    """
    try:
        value = copy_context().run(call, task, metadata, claim.args, claim.kwargs)
    except BaseException as error:  # noqa: BLE001 - SystemExit and the like are a task's failures too
        return _judge(error, claim, task)
    return after_return(value)


def _judge(error: BaseException, claim: Claim, task: TaskDefinition) -> Outcome:
    try:
        return after_error(error, claim, task)
    except BaseException as second:  # noqa: BLE001 - an exception whose own __class__ raises, say
        return outcome.failed(Error.of(second, skip_frames=1))


def call(task: TaskDefinition, metadata: TaskMetadata | None, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call the body within its timeout; its exceptions are the caller's."""
    if task.bind:
        kwargs = {**kwargs, "task_metadata": metadata}
    with within(task.timeout):
        return task.body(*args, **kwargs)


def after_return(value: Any) -> Outcome:
    try:
        check_result(value)
    except BaseException as error:  # noqa: BLE001 - a ResultError, or what the value's own methods raise
        # Running it again would do its work twice and end here again.
        return outcome.failed(Error.of(error, skip_frames=1))
    return outcome.succeeded(value)


def after_error(error: BaseException, claim: Claim, task: TaskDefinition) -> Outcome:
    described = Error.of(error, skip_frames=_OUR_FRAMES)
    if isinstance(error, Discard) or not claim.has_retries_left:
        return outcome.failed(described)
    if isinstance(error, Retry):
        return outcome.retried(described, _asked_delay(error, claim, task))
    if not task.retry.repeats(error):
        return outcome.failed(described)
    return outcome.retried(described, task.retry.delay(claim.try_number))


def _asked_delay(signal: Retry, claim: Claim, task: TaskDefinition) -> timedelta:
    # A subclass of the task's own may set it to anything, or never have called Retry.__init__.
    asked = getattr(signal, "after", None)
    if isinstance(asked, timedelta) and timedelta(0) <= asked <= LONGEST_DELAY:
        return asked
    return task.retry.delay(claim.try_number)
