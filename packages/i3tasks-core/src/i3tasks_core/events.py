"""The table of events: what happened, and which fields say more. Never arguments, never results."""

from __future__ import annotations

import logging
import re
from typing import Any

logger = logging.getLogger("i3tasks")

_VALUES = re.compile(
    r"(?:\n|\\n)(?:DETAIL|CONTEXT|QUERY|LINE \d+):.*?"
    r"(?=\n\n(?:The above exception|During handling)|\Z)",
    re.DOTALL,
)


def without_values(text: str) -> str:
    """An error's text, its ``repr`` or its traceback without what PostgreSQL adds to its first line.

    ``DETAIL: Failing row contains (…)`` and ``LINE 1: INSERT …`` show a row, with a call's arguments perhaps.
    """
    return _VALUES.sub(" […]", text)


class Event:
    """One kind of thing that happens, and its level."""

    __slots__ = ("fields", "level", "name")

    def __init__(self, name: str, level: int, *fields: str) -> None:
        self.name, self.level, self.fields = name, level, frozenset(fields)

    def __call__(self, **fields: Any) -> None:
        """Log it.

        Raises:
            TypeError: a field that the table does not list.
        """
        if unknown := fields.keys() - self.fields:
            raise TypeError(f"event {self.name} has no field {', '.join(sorted(unknown))}")
        if logger.isEnabledFor(self.level):
            error = fields.pop("exc_info", None)
            if isinstance(said := fields.get("error"), str):
                fields["error"] = without_values(said)
            text = " ".join(f"{key}={value}" for key, value in fields.items())
            logger.log(
                self.level,
                "%s %s",
                self.name,
                text,
                extra={"event": self.name, "fields": fields},
                exc_info=error,
            )


class _Discretion(logging.Filter):
    """Formats tracebacks before others do: a handler of the project's own takes the text that is there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            record.exc_text = without_values(logging.Formatter().formatException(record.exc_info))
        return True


logger.addFilter(_Discretion())

_DEBUG, _INFO, _WARNING, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_TRY = ("task", "execution_id", "try_id", "try_number", "queue")

TRY_STARTED = Event("try_started", _DEBUG, *_TRY)
TRY_SUCCEEDED = Event("try_succeeded", _DEBUG, *_TRY, "seconds")
TRY_RETRIED = Event("try_retried", _WARNING, *_TRY, "seconds", "error_class", "retry_after")
TRY_FAILED = Event("try_failed", _ERROR, *_TRY, "seconds", "error_class")
TRY_LOST = Event("try_lost", _ERROR, "try_id")
RESCUE_FAILED = Event("rescue_failed", _WARNING, "error")
TRY_STALE = Event("try_stale", _WARNING, *_TRY)
TRY_UNSETTLED = Event("try_unsettled", _ERROR, *_TRY, "error")
BATCH_FAILED = Event("batch_failed", _WARNING, "count", "error")
TRY_UNREGISTERED = Event("try_unregistered", _WARNING, *_TRY)
TRY_RELEASED = Event("try_released", _INFO, *_TRY)
STEP_REFUSED = Event("step_refused", _WARNING, "of", "tasks")
SCHEDULE_BROKEN = Event("schedule_broken", _ERROR, "schedule", "error")
LEASE_LOST = Event("lease_lost", _ERROR, *_TRY)
HEARTBEAT_FAILED = Event("heartbeat_failed", _ERROR, "error")

MESSAGE_UNREADABLE = Event("message_unreadable", _WARNING, "message_id", "error")
TOKEN_REFUSED = Event("token_refused", _WARNING, "door", "reason")
CERTIFICATES_AWAY = Event("certificates_away", _WARNING, "url", "error")
PUBLISH_FAILED = Event("publish_failed", _WARNING, "queue", "count", "error")
PULL_FAILED = Event("pull_failed", _WARNING, "queue", "error")
ACKNOWLEDGE_FAILED = Event("acknowledge_failed", _WARNING, "queue", "error")
RELEASE_FAILED = Event("release_failed", _ERROR, "queue", "error")
CLAIM_FAILED = Event("claim_failed", _ERROR, "queue", "error")
DATABASE_RETRIED = Event("database_retried", _WARNING, "statement", "error")

PUBSUB_DECLARED = Event("pubsub_declared", _INFO, "resource", "action")
PUBSUB_DRIFTED = Event("pubsub_drifted", _WARNING, "resource", "field", "have", "want")
PUBSUB_UNDECLARED = Event("pubsub_undeclared", _WARNING, "error")

SERVICE_STARTED = Event("service_started", _INFO, "service", "detail")
SERVICE_STOPPING = Event("service_stopping", _INFO, "service", "detail")
SERVICE_STOPPED = Event("service_stopped", _INFO, "service", "running_count")
WORKER_EXITED = Event("worker_exited", _WARNING, "pid", "exit_code", "seconds", "pause")
ROWS_KEPT = Event("rows_kept", _INFO, "count")
PASS_FAILED = Event("pass_failed", _ERROR, "error", "exc_info")
UNCAUGHT = Event("uncaught", _ERROR, "thread", "error", "exc_info")
