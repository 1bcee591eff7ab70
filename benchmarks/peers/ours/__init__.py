"""i3tasks: rows in the database, doorbells over Pub/Sub."""

from dataclasses import replace

from benchmarks.peers.peer import Peer

OURS = Peer(
    name="ours",
    project="benchmarks.peers.ours",
    is_durable=True,
    distributions=("i3tasks-django",),
    needs=frozenset({"pubsub"}),
    worker=("i3tasks_worker", "--queue", "heavy", "--concurrency", "8"),
    finished="SELECT count(*) FROM i3tasks_django_taskexecution WHERE state = 'success'",
    has_bulk=True,
    has_push_bulk=True,
    receiver=("i3tasks_receiver",),
    beat=("i3tasks_beat",),
    remark="worker: 1 process, 8 threads; receiver: gunicorn, 1 process, 16 threads",
)
OURS_ALONE = replace(
    OURS,
    # A made-up history has small numbers for ids, real ids begin with the time: the primary key tells which.
    finished=f"{OURS.finished} AND id > '01000000-0000-0000-0000-000000000000'",
)
OURS_ON_SQLITE = replace(OURS, name="ours on SQLite", is_sqlite=True)
