"""How long a service waits for a database server that is gone without a word."""

from __future__ import annotations

from django.db import connections

# A server that fails over or loses its network says nothing, and by itself the operating system asks after it
# for the first time two hours later: https://www.postgresql.org/docs/current/libpq-connect.html
_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}


def limit_waits() -> None:
    """Let connections to PostgreSQL that are made from here on give up after 25 s without a sign of life.

    What the project's OPTIONS say stays as it is. A statement that takes its time is waited for: its server
    answers, if only the network's own questions.
    """
    for name in connections:
        if connections[name].vendor == "postgresql":
            options = connections[name].settings_dict.setdefault("OPTIONS", {})
            for option, limit in _LIMITS.items():
                options.setdefault(option, limit)
