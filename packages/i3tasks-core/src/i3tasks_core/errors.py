"""One root error with narrow branches; what a task may raise to steer itself is a family of its own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

LONGEST_DELAY = timedelta(days=3650)
"""A try cannot wait longer: a moment beyond the calendars of Python and of the databases cannot be stored."""


class I3TasksError(Exception):
    """The root of everything this package raises on purpose."""


class UnknownQueue(I3TasksError, LookupError):
    """A queue name that the settings do not list."""

    def __init__(self, queue_name: str, known: Iterable[str]) -> None:
        self.queue_name = queue_name
        self.known = sorted(known)
        super().__init__(
            f"unknown queue {queue_name!r}: write one of {', '.join(map(repr, self.known))}, "
            "or add it to I3TASKS.other_queues"
        )


class ArgumentError(I3TasksError, TypeError):
    """An argument of a call that cannot be stored as JSON.

    Attributes:
        argument: where it stands, e.g. ``args[0]`` or ``kwargs['user']['name']``.
    """

    def __init__(self, argument: str, reason: str) -> None:
        self.argument = argument
        super().__init__(f"{argument} {reason}")


class ResultError(I3TasksError, ValueError):
    """A return value that cannot be stored; the try fails with this reason and is not repeated."""


class GroupError(I3TasksError, ValueError):
    """A call that a group cannot take as a member."""


class EnvelopeError(I3TasksError, ValueError):
    """A message that nobody can read."""


class SignatureError(EnvelopeError):
    """A message whose signature is missing or was not made with one of our keys."""


class TokenRefused(I3TasksError):
    """A token that is missing, cannot be read, has expired or was signed by somebody else."""


class TokenForeign(TokenRefused):
    """A sound token that was not made for us, or not by whom we expect."""


class CertificatesUnavailable(I3TasksError):
    """No certificates to verify tokens with: trying again later makes sense."""

    def __init__(self) -> None:
        super().__init__("the certificates of push tokens cannot be had")


class LeaseLost(I3TasksError):
    """The try was given to somebody else while it ran; nothing it did in its transaction is kept."""

    def __init__(self) -> None:
        super().__init__("the try's lease was lost while it ran: its transaction is rolled back")


class PubSubError(I3TasksError):
    """Pub/Sub could not do what was asked of it."""


class PubSubUnavailable(PubSubError):
    """Pub/Sub did not answer in time, or refused; trying again later makes sense."""


class PubSubMissing(PubSubError):
    """The topic or subscription does not exist."""


class TaskFailed(I3TasksError):
    """Raised by ``handle.result()`` when the task failed for good.

    Attributes:
        error_class: name of the last try's exception class.
        error_message: its text.
        traceback: its formatted traceback.
    """

    def __init__(self, error_class: str, error_message: str, traceback: str) -> None:
        self.error_class = error_class
        self.error_message = error_message
        self.traceback = traceback
        super().__init__(f"{error_class}: {error_message}")


class TaskCancelled(I3TasksError):
    """Raised by ``handle.result()`` when the task was cancelled."""


class ResultTimeout(I3TasksError, TimeoutError):
    """Raised by ``handle.result(timeout=…)`` when the task had not ended in time; it goes on."""


class TaskSignal(Exception):
    """What a task may raise to say what should become of it."""


class Retry(TaskSignal):
    """End this try and run the task again later; it counts as a try.

    Args:
        after: how long to wait, a ``timedelta`` or seconds; without it the task's own policy decides.
        reason: kept as the try's error message.

    Raises:
        ValueError: ``after`` is negative or above ten years.
    """

    def __init__(
        self, after: timedelta | float | None = None, reason: str = "the task asked for another try"
    ) -> None:
        super().__init__(reason)
        self.after = timedelta(seconds=after) if isinstance(after, int | float) else after
        if self.after is not None and not timedelta(0) <= self.after <= LONGEST_DELAY:
            raise ValueError(f"Retry(after={after!r}): write a delay from 0 to {LONGEST_DELAY.days} days")


class Discard(TaskSignal):
    """Fail for good, with a reason and without another try."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class TaskTimeout(BaseException):
    """Raised inside a task that ran longer than its ``timeout``.

    Not an ``Exception``, so that a task's own ``except Exception`` does not swallow it.
    """

    def __init__(self, timeout: timedelta | None = None) -> None:
        # The interpreter makes the instance when it raises asynchronously, so the argument is optional.
        super().__init__(
            f"ran longer than its timeout of {timeout.total_seconds():g} s" if timeout else "timed out"
        )
