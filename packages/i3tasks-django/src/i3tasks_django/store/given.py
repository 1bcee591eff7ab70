"""GIVEN: rows that come with a statement, as many as there are, in one parameter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from i3tasks_django.store.database import connection, dialect


def given(count: int, /, **columns: str) -> str:
    """A table named ``given`` for a statement's FROM, with one parameter: what ``parameter`` makes.

    Args:
        count: its rows.
        columns: their names and PostgreSQL types. Names that no column of ours has need no qualification.
    """
    if connection().vendor == "postgresql":
        typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        # json, not jsonb: that cannot hold more than 256 MB of array, and is slower to make.
        # The limit tells the planner how few they may be. It takes a function's rows for a hundred, and would
        # rather read a table of some thousands than look that many up.
        return f"(SELECT * FROM json_to_recordset(%s::json) AS each({typed}) LIMIT {count}) AS given"  # noqa: S608
    extracted = ", ".join(f"JSON_EXTRACT(value, '$.{name}') AS {name}" for name in columns)
    return f"(SELECT {extracted} FROM JSON_EACH(%s)) AS given"  # noqa: S608 - the names are ours


def parameter(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows, as objects of the columns; a column that one leaves out is null, and a UUID is as stored."""
    stored = dialect().uuid
    return json.dumps(list(rows), default=lambda value: str(stored(value)))
