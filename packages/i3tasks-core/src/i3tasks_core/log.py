"""Turn log records into lines that Google Cloud Logging understands: one JSON object a line on stdout.

https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor


def configure(level: str = "INFO", *, readable: bool | None = None) -> None:
    """Send every record of this process to stdout.

    Args:
        level: least level of our own events; other loggers stay at WARNING or above.
        readable: lines for people instead of JSON; None means "when stdout is a terminal".
    """
    # default=str: an execution's id is written as it is searched for, not as UUID('…').
    renderer: Processor = structlog.processors.JSONRenderer(default=str)
    if sys.stdout.isatty() if readable is None else readable:
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
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("i3tasks").setLevel(level)


def _cloud_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["severity"] = record.levelname
    event["logger"] = record.name
    event["message"] = getattr(record, "event", None) or event["event"]
    del event["event"]
    event.update(getattr(record, "fields", {}))
    return event
