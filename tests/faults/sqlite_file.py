"""What must be true of the file when the database is SQLite."""

from __future__ import annotations

from typing import Any

from i3tasks_django.models import TaskExecutionTry


def check_integrity(connection: Any) -> None:
    """Nothing in it is damaged, and no task was told that it is locked; other databases pass."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        assert cursor.fetchall() == [("ok",)]
    assert not TaskExecutionTry.objects.filter(error_message__contains="locked").exists()
