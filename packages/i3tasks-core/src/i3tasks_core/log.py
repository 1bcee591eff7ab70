"""Turn log records into lines that Google Cloud Logging understands: one JSON object a line on stdout.

https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from i3tasks_core import events

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor


def configure(level: str | None = None, *, readable: bool | None = None) -> None:
    """Send every record of this process to stdout, unless the project says where its records go.

    A root logger that has a handler keeps it, with its format and levels. Exceptions that nobody catches
    become records too.

    Args:
        level: least level of our own events; None leaves what is set, or INFO. Where ours is the handler,
            other loggers stay at WARNING or above.
        readable: lines for people instead of JSON; None means "when stdout is a terminal".
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_handler(sys.stdout.isatty() if readable is None else readable))
        root.setLevel(logging.WARNING)
    # LOGGING silences, by Django's default, all loggers made before it; whether ours was is an accident.
    events.logger.disabled = False
    if level or not events.logger.level:
        events.logger.setLevel(level or "INFO")
    _catch_the_uncaught()


def _handler(readable: bool) -> logging.Handler:
    # Here: a service that refuses to start, and a project that keeps its own handlers, do without it.
    import structlog

    # default=str: an execution's id is written as it is searched for, not as UUID('…').
    renderer: Processor = structlog.processors.JSONRenderer(default=str)
    if readable:
        renderer = structlog.dev.ConsoleRenderer(event_key="message")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                _cloud_fields,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _discreet,
                renderer,
            ],
        )
    )
    return handler


def _catch_the_uncaught() -> None:
    """Replace the tracebacks that Python writes to stderr; hooks of others, as error trackers set, stay."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _log_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt) or not events.logger.isEnabledFor(logging.ERROR):
        sys.__excepthook__(kind, error, trace)
    else:
        events.UNCAUGHT(thread="MainThread", error=repr(error), exc_info=(kind, error, trace))


def _log_uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    error, name = caught.exc_value, caught.thread.name if caught.thread else None
    if error is None or isinstance(error, SystemExit) or not events.logger.isEnabledFor(logging.ERROR):
        threading.__excepthook__(caught)
    else:
        events.UNCAUGHT(thread=name, error=repr(error), exc_info=error)


def _discreet(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["exception"] = events.without_values(event["exception"])
    return event


def _cloud_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["severity"] = record.levelname
    event["logger"] = record.name
    event["message"] = getattr(record, "event", None) or event["event"]
    del event["event"]
    event.update(getattr(record, "fields", {}))
    return event
