"""Events are named, their fields are listed, and each becomes one line."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from _pytest.logging import LogCaptureHandler
from core_values import EXECUTION_ID, make_claim

from i3tasks_core import events, log
from i3tasks_core.events import Event
from i3tasks_core.steps import Call

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
    monkeypatch.setattr(ours, "handlers", [])
    monkeypatch.setattr(ours, "disabled", False)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    levels = root.level, ours.level
    yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def configure(root_logger: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    """``log.configure`` with a stdout of the test's own, which it returns."""
    stream = io.StringIO()
    root = logging.getLogger()

    def make(*args: Any, **options: Any) -> io.StringIO:
        # pytest's own handlers, which come anew for each phase of a test, are no project's.
        root.handlers[:] = [one for one in root.handlers if not isinstance(one, LogCaptureHandler)]
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


FAILING_ROW = """null value in column "state" violates not-null constraint
LINE 1: INSERT INTO call VALUES ('{"password": "hunter2"}')
                                 ^
DETAIL:  Failing row contains (1, {"password": "hunter2"}, a

b).
CONTEXT:  JSON data, line 1: {"password": "hunter2"}"""


class DatabaseError(Exception):
    """As Django wraps what the driver raises."""


def fail_to_insert():
    try:
        raise ValueError(FAILING_ROW)
    except ValueError as error:
        raise DatabaseError(str(error)) from error


@pytest.mark.parametrize("readable", [False, True])
def test_what_postgresql_tells_of_a_row_is_in_no_line(configure, readable):
    stream = configure(readable=readable)
    try:
        fail_to_insert()
    except DatabaseError as error:
        events.PASS_FAILED(error=repr(error), exc_info=error)
        events.CLAIM_FAILED(queue="heavy", error=str(error))
        logging.getLogger("django.request").error("Internal Server Error", exc_info=error)

    written = stream.getvalue()

    assert "hunter2" not in written
    assert written.count("null value in column") >= 3
    assert "DatabaseError" in written
    assert "fail_to_insert" in written


def test_what_postgresql_tells_of_a_row_is_in_no_line_of_a_handler_of_the_projects_own(root_logger):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        fail_to_insert()
    except DatabaseError as error:
        events.PASS_FAILED(error=repr(error), exc_info=error)

    assert "hunter2" not in stream.getvalue()
    assert "direct cause" in stream.getvalue()


def test_a_claim_and_a_call_show_no_arguments():
    call = Call(
        task_path="shop.tasks", task_name="send", args=["hunter2"], kwargs={"password": "hunter2"},
        queue_name="default", max_retries=0,
    )  # fmt: skip

    assert "hunter2" not in repr(call)
    assert "hunter2" not in repr(make_claim(args=["hunter2"], kwargs={"a": "hunter2"}))


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


# --- a project with a LOGGING of its own


@pytest.fixture
def theirs(root_logger: None) -> io.StringIO:
    """A root handler with a format and levels, as a project's LOGGING sets it up; what it writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("THEIRS %(message)s"))
    handler.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.ERROR)
    return stream


def test_a_project_keeps_its_root_handler_its_format_and_its_levels(theirs, configure):
    ours = configure("DEBUG")
    events.TRY_LOST(try_id=1)
    events.TRY_STARTED(**FACTS)  # debug, which their handler does not take
    logging.getLogger("other").warning("below their root's level")

    assert theirs.getvalue() == "THEIRS try_lost try_id=1\n"
    assert ours.getvalue() == ""
    assert logging.getLogger().level == logging.ERROR


def test_our_level_is_ours_alone(theirs, configure):
    configure("ERROR")
    events.PULL_FAILED(queue="heavy", error="away")
    events.TRY_LOST(try_id=1)

    assert theirs.getvalue() == "THEIRS try_lost try_id=1\n"


def test_a_level_that_the_project_gave_us_stays_when_the_environment_says_nothing(theirs, configure):
    logging.getLogger("i3tasks").setLevel(logging.ERROR)
    configure()
    assert logging.getLogger("i3tasks").level == logging.ERROR

    configure("DEBUG")
    assert logging.getLogger("i3tasks").level == logging.DEBUG


def test_a_logging_that_disables_existing_loggers_does_not_silence_us(theirs, configure):
    logging.getLogger("i3tasks").disabled = True
    configure()
    events.TRY_LOST(try_id=1)

    assert theirs.getvalue() == "THEIRS try_lost try_id=1\n"


# --- what nobody catches

UNCAUGHT = """
import threading
from i3tasks_core import log

log.configure(readable=False)
thread = threading.Thread(target=lambda: 1 / 0, name="divider")
thread.start()
thread.join()
raise ValueError("why")
"""


def test_what_nobody_catches_is_a_line_too():
    done = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, timeout=60, check=False
    )
    in_thread, in_main = (json.loads(line) for line in done.stdout.splitlines())

    assert (done.returncode, done.stderr) == (1, "")
    assert (in_thread["message"], in_thread["severity"]) == ("uncaught", "ERROR")
    assert in_thread["thread"] == "divider"
    assert "ZeroDivisionError: division by zero" in in_thread["exception"]
    assert (in_main["message"], in_main["thread"]) == ("uncaught", "MainThread")
    assert in_main["error"] == "ValueError('why')"
    assert "ValueError: why" in in_main["exception"]


def test_a_thread_that_exits_is_no_error(configure):
    stream = configure()
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()

    assert stream.getvalue() == ""


def test_ctrl_c_is_no_error(configure, capsys):
    stream = configure()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert stream.getvalue() == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_hooks_of_others_stay(configure, monkeypatch):
    def tracker(*_):
        """As an error tracker sets it."""

    monkeypatch.setattr(sys, "excepthook", tracker)
    monkeypatch.setattr(threading, "excepthook", tracker)
    configure()

    assert (sys.excepthook, threading.excepthook) == (tracker, tracker)


def test_without_our_events_the_traceback_is_pythons(configure, capsys):
    configure()
    logging.getLogger("i3tasks").setLevel(logging.CRITICAL)
    sys.excepthook(ValueError, ValueError("why"), None)

    assert "ValueError: why" in capsys.readouterr().err
