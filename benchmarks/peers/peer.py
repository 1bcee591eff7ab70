"""What the measuring side must know of a peer.

Its calls are made by its project's ``tasks`` module: ``call(called_at)`` makes one, ``call_many(called_at of
each)`` many where the peer can, ``push`` and ``push_many`` the same by push; ``prepare()``, if there is one,
is asked once before. The task notes its start and gives back a small JSON value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One row of the table.

    Attributes:
        name: as in ``--only``.
        project: the module that holds its ``settings`` and ``tasks``.
        is_durable: whether a call is in the database when the caller's transaction commits, and only then.
        distributions: its packages, whose versions are told.
        requirements: what an environment made for it alone holds, because it cannot live in the workspace's.
        needs: servers besides the database: "redis", "pubsub".
        worker: one worker's command, after ``python -m``.
        worker_count: workers at a time.
        finished: SQL that counts the tasks that have ended well.
        share: of the tasks asked for, where the peer would take minutes for all.
        has_bulk: whether it can make many calls at once.
        receiver: the command that serves its push endpoint.
        beat: a process that belongs to it besides the worker.
        remark: what the reader of the figures must know.
    """

    name: str
    project: str
    is_durable: bool
    distributions: tuple[str, ...]
    worker: tuple[str, ...]
    finished: str
    requirements: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    worker_count: int = 1
    share: float = 1.0
    has_bulk: bool = False
    has_push_bulk: bool = False
    receiver: tuple[str, ...] = ()
    beat: tuple[str, ...] = ()
    is_sqlite: bool = False
    remark: str = ""
