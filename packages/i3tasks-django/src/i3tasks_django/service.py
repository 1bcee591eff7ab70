"""What every service does first: read the environment, set Django up, say in one line what is missing."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import django
from django.core.exceptions import ImproperlyConfigured

from i3tasks_core import log


def start(service: str) -> None:
    """Set up Django and logging, or leave.

    Environment: ``DJANGO_SETTINGS_MODULE`` (required), ``I3TASKS_LOG_LEVEL`` (INFO).

    Raises:
        SystemExit: code 1, after one line on stderr that says what is missing.
    """
    # A console script does not see the folder it is run from; the project usually lies there.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a str is what sys.path holds
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        leave(
            service,
            "DJANGO_SETTINGS_MODULE is not set: write the project's settings module, e.g. shop.settings",
        )
    try:
        django.setup()
    except (ImportError, ImproperlyConfigured) as error:
        leave(service, f"Django cannot be set up: {error}")
    _require_app(service)
    _require_sound_settings(service)
    _require_tables(service)
    log.configure(_log_level(service))


def leave(service: str, reason: str) -> NoReturn:
    """Exit with code 1 after one line on stderr."""
    sys.stderr.write(f"{service}: {' '.join(str(reason).split())}\n")
    raise SystemExit(1)


def environment_number(service: str, name: str, default: int, least: int = 0) -> int:
    """A whole number from the environment; leaves when it is none."""
    text = os.environ.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < least:
        leave(service, f"{name} is {text!r}: write a whole number, {least} or more")
    return int(text)


def _require_app(service: str) -> None:
    from django.apps import apps

    if not apps.is_installed("i3tasks_django"):
        leave(service, 'INSTALLED_APPS does not list "i3tasks_django": add it')


def _require_sound_settings(service: str) -> None:
    from i3tasks_django.checks import problems

    if found := problems():
        leave(service, "; ".join(map(str, found)))


def _require_tables(service: str) -> None:
    from django.apps import apps

    from i3tasks_django.store.database import TRANSIENT, connection

    try:
        tables = connection().introspection.table_names()
    except TRANSIENT:
        return  # a database that is away now may be back in a moment: that stops no service
    if apps.get_model("i3tasks_django", "TaskExecutionTry")._meta.db_table not in tables:
        leave(service, "the database has no tables for tasks: run python manage.py migrate")


def _log_level(service: str) -> str:
    level = os.environ.get("I3TASKS_LOG_LEVEL", "INFO").upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        leave(service, f"I3TASKS_LOG_LEVEL is {level!r}: write DEBUG, INFO, WARNING or ERROR")
    return level
