"""What every service does first: read the environment, set Django up, say in one line what is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import django

from i3tasks_core import log
from i3tasks_core.errors import I3TasksError
from i3tasks_django.origin import describe

GRACE = 8
"""Seconds for what runs when a service is told to stop: Cloud Run and docker kill ten after SIGTERM."""

THREADS = 16
"""Pushes that a receiver's process runs at a time, where ``I3TASKS_THREADS`` does not say."""

HIGHEST_PORT = 65_535


class CannotStart(I3TasksError):
    """A service cannot start; the text says why, and what to do about it."""


def start(service: str) -> None:
    """Set up Django and logging, or leave.

    Environment: ``DJANGO_SETTINGS_MODULE`` (required), ``I3TASKS_LOG_LEVEL``.

    Raises:
        SystemExit: code 1, after one line on stderr that says what is wrong.
    """
    # A console script does not see the folder it is run from; the project usually lies there.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a str is what sys.path holds
    with leaving(service):
        _set_up_django()
        prepare()


def prepare() -> None:
    """See that a project that is set up has what a service needs, and set the log up.

    Environment: ``I3TASKS_LOG_LEVEL`` (INFO, or what the project's LOGGING says).

    Raises:
        CannotStart: something is missing or wrong.
    """
    with _explained("the project cannot be checked"):
        _require_app()
        _require_sound_settings()
        _require_tables()
    log.configure(_log_level())


@contextmanager
def leaving(service: str) -> Iterator[None]:
    """Exit with code 1 after one line on stderr when the block raises an error of ours.

    Raises:
        SystemExit: it did.
    """
    try:
        yield
    except I3TasksError as error:
        leave(service, str(error))


def leave(service: str, reason: str) -> NoReturn:
    """Exit with code 1 after one line on stderr."""
    sys.stderr.write(f"{service}: {one_line(reason)}\n")
    raise SystemExit(1)


def one_line(text: str) -> str:
    return " ".join(text.split())


def environment_number(name: str, default: int, *, least: int = 0, most: int = 1_000_000) -> int:
    """A whole number from the environment; the default where it is unset or empty.

    Raises:
        CannotStart: it is none, or out of bounds.
    """
    text = os.environ.get(name) or str(default)
    is_short = text.isascii() and text.isdigit() and len(text) < 10  # int() refuses what is endless
    if not is_short or not least <= int(text) <= most:
        raise CannotStart(f"{name} is {text!r}: write a whole number from {least} to {most}")
    return int(text)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Whatever the project's own code raises inside the block becomes one line.

    Raises:
        CannotStart: names the error and where it was raised.
    """
    try:
        yield
    except CannotStart:
        raise
    except Exception as error:
        raise CannotStart(f"{what}: {describe(error)}") from error


def _set_up_django() -> None:
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise CannotStart(
            "DJANGO_SETTINGS_MODULE is not set: write the project's settings module, e.g. shop.settings"
        )
    with _explained("Django cannot be set up"):
        django.setup()


def _require_app() -> None:
    from django.apps import apps

    if not apps.is_installed("i3tasks_django"):
        raise CannotStart('INSTALLED_APPS does not list "i3tasks_django": add it')


def _require_sound_settings() -> None:
    from i3tasks_django.checks import problems

    if found := problems():
        raise CannotStart("; ".join(map(str, found)))


def _require_tables() -> None:
    from django.apps import apps

    from i3tasks_django.store.database import TRANSIENT, connection, give_back_pooled_connections

    _require_folder()
    try:
        tables = connection().introspection.table_names()
    except TRANSIENT:
        return  # a database that is away now may be back in a moment: that stops no service
    finally:
        give_back_pooled_connections()
    if apps.get_model("i3tasks_django", "TaskExecutionTry")._meta.db_table not in tables:
        raise CannotStart("the database has no tables for tasks: run python manage.py migrate")


def _require_folder() -> None:
    """SQLite says the same of a folder that is not there as of a database that is away for a moment."""
    from i3tasks_django.store.database import alias, connection

    name = str(connection().settings_dict["NAME"])
    if connection().vendor != "sqlite" or name.startswith("file:"):  # a URI need not name a file
        return
    if not (folder := Path(name).parent).is_dir():
        raise CannotStart(
            f"DATABASES[{alias()!r}]['NAME'] is {name!r}: there is no folder {str(folder)!r}; "
            "make it, or write another path"
        )


def _log_level() -> str | None:
    level = os.environ.get("I3TASKS_LOG_LEVEL", "").upper()
    if level not in ("", "DEBUG", "INFO", "WARNING", "ERROR"):
        raise CannotStart(f"I3TASKS_LOG_LEVEL is {level!r}: write DEBUG, INFO, WARNING or ERROR")
    return level or None
