"""gunicorn, configured from the environment."""

from __future__ import annotations

import os
import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from i3tasks_core import events
from i3tasks_django.service import GRACE, HIGHEST_PORT, THREADS, CannotStart, environment_number
from i3tasks_receiver.worker import Worker

_HOST = "0.0.0.0"  # noqa: S104 - a container's port is published from outside


class Log(Logger):  # type: ignore[misc]  # gunicorn carries no types
    """gunicorn's records go where all others go, in their shape, instead of to handlers of its own."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.propagate = self.access_log.propagate = True


class Receiver(BaseApplication):  # type: ignore[misc]
    """gunicorn with threads.

    Args:
        options: gunicorn's settings by name.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # In the worker process: nothing that opens a connection may come before the fork.
        from i3tasks_django.wsgi import receiver

        return receiver()


def options() -> dict[str, Any]:
    """The settings of gunicorn.

    Raises:
        CannotStart: a variable is no number, or the port is taken.
    """
    port = environment_number("PORT", 8080, most=HIGHEST_PORT)
    chosen = {
        "bind": f"{_HOST}:{port}",
        "worker_class": Worker,
        "workers": environment_number("I3TASKS_PROCESSES", 1, least=1),
        "threads": environment_number("I3TASKS_THREADS", THREADS, least=1),
        "graceful_timeout": environment_number("I3TASKS_GRACE_SECONDS", GRACE),
        "timeout": 0,  # a push task may take its 570 s, and a heartbeat of ours watches it
        "keepalive": 75,  # Pub/Sub keeps its connections
        "control_socket_disable": True,
        "logger_class": Log,
        "errorlog": None,
        "loglevel": "warning",
        "worker_exit": _tell_the_end,
    }
    _require_free(port)
    return chosen


def _require_free(port: int) -> None:
    """Ask before gunicorn does, which would try for five seconds and say so in a dozen lines."""
    if {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():
        return  # it inherits a listening socket, from its predecessor or from systemd
    with socket.socket() as probe:
        # As gunicorn does: connections that linger in TIME_WAIT after a restart keep nobody from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
            probe.listen()
        except OSError as error:
            raise CannotStart(f"cannot listen on port {port}: {error}; set PORT to a free one") from error


def _tell_the_end(_server: Any, worker: Any) -> None:
    """A hook of gunicorn, which calls it in its main process too, for a worker that is gone already."""
    if worker.pid == os.getpid() and worker.booted:
        idle_count = len(worker.keepalived_conns) + len(worker.pending_conns)
        events.SERVICE_STOPPED(service="receiver", running_count=worker.nr_conns - idle_count)
