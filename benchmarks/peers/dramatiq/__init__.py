"""Dramatiq on Redis, its history in the database by django-dramatiq."""

from benchmarks.peers.peer import Peer

DRAMATIQ = Peer(
    name="dramatiq",
    project="benchmarks.peers.dramatiq",
    is_durable=False,
    distributions=("dramatiq", "django-dramatiq"),
    needs=frozenset({"redis"}),
    worker=("django", "rundramatiq", "--processes", "1", "--threads", "8"),
    finished="SELECT count(*) FROM django_dramatiq_task WHERE status = 'done'",
    remark="worker: 1 process, 8 threads; calls and results live in Redis, in memory",
)
