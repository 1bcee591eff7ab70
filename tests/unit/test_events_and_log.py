"""Events are named, their fields are listed, and each becomes one line."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from core_values import EXECUTION_ID

from i3tasks_core import events, log
from i3tasks_core.events import Event

TABLE = {name: value for name, value in vars(events).items() if isinstance(value, Event)}
FACTS = {
    "task": "shop.tasks.send",
    "execution_id": EXECUTION_ID,
    "try_id": 1,
    "try_number": 1,
    "queue": "heavy",
}

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the logging up as a service does, and put it back."""
    root, ours = logging.getLogger(), logging.getLogger("i3tasks")
    monkeypatch.setattr(root, "handlers", [])
    levels = root.level, ours.level
    yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def configure(root_logger: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    """``log.configure`` with a stdout of the test's own, which it returns."""
    stream = io.StringIO()

    def make(*args: Any, **options: Any) -> io.StringIO:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            log.configure(*args, **options)
        return stream

    return make


@pytest.fixture
def lines(configure: Callable[..., io.StringIO]) -> Lines:
    stream = configure()
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


# --- the table


def test_every_event_is_called_like_its_constant():
    assert {name: event.name.upper() for name, event in TABLE.items()} == {name: name for name in TABLE}


@pytest.mark.parametrize("event", TABLE.values(), ids=TABLE)
def test_no_event_has_a_field_for_arguments_or_results(event):
    assert not event.fields & {"args", "kwargs", "arguments", "result", "results", "payload", "data", "body"}


@pytest.mark.parametrize("event", TABLE.values(), ids=TABLE)
def test_no_field_is_called_like_a_part_of_the_line(event):
    assert not event.fields & {"severity", "message", "time", "logger", "event"}


@pytest.mark.parametrize("event", TABLE.values(), ids=TABLE)
def test_a_field_that_the_table_does_not_list_is_refused(event):
    with pytest.raises(TypeError, match=f"event {event.name} has no field args, kwargs"):
        event(args=[1], kwargs={})


def test_a_wrong_field_is_refused_even_when_nobody_listens():
    with pytest.raises(TypeError):
        Event("quiet", logging.DEBUG, "task")(tusk=1)


# --- the line


@pytest.mark.parametrize("event", TABLE.values(), ids=TABLE)
def test_an_event_is_one_json_line(event, configure):
    stream = configure("DEBUG")
    event(**{field: f"some {field}" for field in event.fields if field != "exc_info"})
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]

    assert line["message"] == event.name
    assert line["severity"] == logging.getLevelName(event.level)
    assert line["logger"] == "i3tasks"
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    for field in event.fields - {"exc_info"}:
        assert line[field] == f"some {field}"


def test_numbers_stay_numbers_and_ids_are_written_as_they_are_searched_for(lines):
    events.TRY_FAILED(**FACTS, seconds=0.25, error_class="ValueError")
    (line,) = lines()

    assert (line["try_id"], line["seconds"]) == (1, 0.25)
    assert line["execution_id"] == str(EXECUTION_ID)
    assert UUID(line["execution_id"]) == EXECUTION_ID


def test_line_breaks_in_a_field_do_not_break_the_line(lines):
    events.PULL_FAILED(queue="heavy", error="one\ntwo\r\n{three}\u2028four %s")
    (line,) = lines()

    assert line["error"] == "one\ntwo\r\n{three}\u2028four %s"


def test_an_exception_is_part_of_its_line(lines):
    try:
        raise ValueError("why")
    except ValueError as error:
        events.PASS_FAILED(error="ValueError", exc_info=error)
    (line,) = lines()

    assert "ValueError: why" in line["exception"]
    assert "exc_info" not in line


def test_a_record_of_another_library_is_a_line_of_the_same_shape(lines):
    logging.getLogger("django.request").warning("Not Found: %s", "/x")
    (line,) = lines()

    assert line["severity"] == "WARNING"
    assert line["message"] == "Not Found: /x"
    assert line["logger"] == "django.request"


def test_an_exception_of_another_library_is_part_of_its_line(lines):
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("other").exception("it failed")
    (line,) = lines()

    assert (line["severity"], line["message"]) == ("ERROR", "it failed")
    assert "ValueError: why" in line["exception"]


def test_other_libraries_are_heard_from_warning_on_and_ours_from_its_level_on(lines):
    logging.getLogger("google.auth").info("not this")
    events.TRY_STARTED(**FACTS)  # debug
    events.SERVICE_STARTED(service="worker", detail="")

    assert [line["message"] for line in lines()] == ["service_started"]


def test_configuring_twice_does_not_write_twice(configure):
    configure()
    stream = configure()
    events.TRY_LOST(try_id=1)

    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_gets_lines_for_people(configure):
    stream = configure(readable=True)
    events.TRY_LOST(try_id=17)

    written = stream.getvalue()

    assert "try_lost" in written
    assert "17" in written
    with pytest.raises(ValueError):
        json.loads(written)


def test_an_event_reads_well_without_our_set_up(caplog):
    with caplog.at_level(logging.WARNING, "i3tasks"):
        events.PULL_FAILED(queue="heavy", error="away")

    assert caplog.messages == ["pull_failed queue=heavy error=away"]
