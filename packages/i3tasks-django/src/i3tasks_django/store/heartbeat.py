"""HEARTBEAT: extend the leases of everything one process runs, in one statement."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from i3tasks_core.claim import Claim
from i3tasks_django.store.database import dialect, resilient, rows


def heartbeat(claims: Collection[Claim], lease: timedelta, patience: float = 4.0) -> set[int]:
    """The ids of the tries that are still ours; one that is missing has been given to somebody else.

    Args:
        claims: what this process runs.
        lease: how long they are ours from now.
        patience: seconds to go on trying while the database is away.
    """
    pairs = ", ".join(["(%s, %s)"] * len(claims))
    sql = f"""
        UPDATE i3tasks_django_taskexecutiontry SET lease_until = {dialect().later}
        WHERE state = 'running' AND (id, fence) IN (VALUES {pairs})
        RETURNING id
    """  # noqa: S608 - only placeholders and our own words are put in
    params = [lease.total_seconds(), *(value for claim in claims for value in (claim.try_id, claim.fence))]
    return {row[0] for row in resilient("heartbeat", lambda: rows(sql, params), patience)}
