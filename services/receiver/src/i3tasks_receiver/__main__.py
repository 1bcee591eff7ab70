"""``i3tasks-receiver``: serve the routes that Pub/Sub calls."""

from __future__ import annotations

from typing import Any

from gunicorn.app.base import BaseApplication

from i3tasks_django.service import environment_number, start

SERVICE = "i3tasks-receiver"


class Receiver(BaseApplication):  # type: ignore[misc]  # gunicorn carries no types
    """gunicorn with threads, configured from the environment."""

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


def main() -> None:
    """Serve until SIGTERM.

    Reads DJANGO_SETTINGS_MODULE, PORT (8080), I3TASKS_PROCESSES (1), I3TASKS_THREADS (8),
    I3TASKS_GRACE_SECONDS (8) and I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    from django.db import connections

    connections.close_all()  # gunicorn forks: no connection may be shared
    Receiver(
        {
            "bind": f"0.0.0.0:{environment_number(SERVICE, 'PORT', 8080)}",
            "worker_class": "gthread",
            "workers": environment_number(SERVICE, "I3TASKS_PROCESSES", 1, least=1),
            "threads": environment_number(SERVICE, "I3TASKS_THREADS", 8, least=1),
            "graceful_timeout": environment_number(SERVICE, "I3TASKS_GRACE_SECONDS", 8),
            "timeout": 0,  # a push task may take its 570 s, and a heartbeat of ours watches it
            "keepalive": 75,  # Pub/Sub keeps its connections
            "control_socket_disable": True,
            "loglevel": "warning",
        }
    ).run()


if __name__ == "__main__":
    main()
