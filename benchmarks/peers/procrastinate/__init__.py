"""procrastinate, as its Django app."""

from benchmarks.peers.peer import Peer

PROCRASTINATE = Peer(
    name="procrastinate",
    project="benchmarks.peers.procrastinate",
    is_durable=True,
    distributions=("procrastinate",),
    worker=("django", "procrastinate", "worker", "--concurrency", "8"),
    finished="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
    has_bulk=True,
    remark="worker: 1 process, 8 jobs at a time; keeps no results",
)
