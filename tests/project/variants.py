"""Ways in which projects set their database up; processes are told theirs by ``TEST_VARIANT``."""

from __future__ import annotations

import os
from typing import Any

from django.db.backends.postgresql.psycopg_any import IsolationLevel

VARIANT = "TEST_VARIANT"

VARIANTS: dict[str, dict[str, Any]] = {
    "atomic-requests": {"ATOMIC_REQUESTS": True},
    "lasting-connections": {"CONN_MAX_AGE": None},
    "checked-connections": {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True},
}
OF_POSTGRES: dict[str, dict[str, Any]] = {
    "prepared": {"OPTIONS": {"server_side_binding": True, "prepare_threshold": 1}},
    "pool": {"OPTIONS": {"pool": True}},
    "pool-of-two": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}},
    "repeatable-read": {"OPTIONS": {"isolation_level": IsolationLevel.REPEATABLE_READ}},
    "serializable": {"OPTIONS": {"isolation_level": IsolationLevel.SERIALIZABLE}},
}


def varied(settings: dict[str, Any], variant: str | None = None) -> dict[str, Any]:
    """An entry of DATABASES as that variant, or the one of the environment, would have it."""
    changes = dict((VARIANTS | OF_POSTGRES).get(variant or os.environ.get(VARIANT, ""), {}))
    if not settings["ENGINE"].endswith("postgresql"):
        changes.pop("OPTIONS", None)
    options = settings.get("OPTIONS", {}) | changes.pop("OPTIONS", {})
    return settings | changes | {"OPTIONS": options}
