"""``i3tasks-receiver``: serve the routes that Pub/Sub calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from i3tasks_django.service import leaving, start

if TYPE_CHECKING:
    from django.db.utils import ConnectionHandler

SERVICE = "i3tasks-receiver"


@click.command()
def serve() -> None:
    """Serve the routes that Pub/Sub calls until SIGTERM or Ctrl+C.

    Reads DJANGO_SETTINGS_MODULE, PORT (8080), I3TASKS_PROCESSES (1), I3TASKS_THREADS (16),
    I3TASKS_GRACE_SECONDS (8) and I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    from django.db import connections

    from i3tasks_receiver.server import Receiver, options

    with leaving(SERVICE):
        receiver = Receiver(options())
    _close_all(connections)
    receiver.run()


def _close_all(connections: ConnectionHandler) -> None:
    """Before gunicorn forks: two processes on one connection would read each other's answers."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):  # PostgreSQL's: a closed connection only goes back into it
            connection.close_pool()
