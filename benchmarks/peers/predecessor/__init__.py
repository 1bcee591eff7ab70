"""django-i3tasks, whose interface we have taken up."""

from benchmarks.peers.peer import Peer

PREDECESSOR = Peer(
    name="predecessor",
    project="benchmarks.peers.predecessor",
    is_durable=False,
    distributions=("django-i3tasks",),
    needs=frozenset({"pubsub"}),
    worker=("django", "i3tasks_worker", "--queue", "heavy"),
    finished="SELECT count(*) FROM i3tasks_taskexecutionresult",
    # A call takes it 12 ms, which the client library waits for others to publish together.
    share=0.2,
    receiver=(
        "gunicorn",
        "--workers=1",
        "--threads=8",
        "--bind=127.0.0.1:{port}",
        "--no-control-socket",
        "benchmarks.peers.predecessor.wsgi",
    ),
    remark="worker: 1 process, a task at a time; receiver: as ours; a fifth of the tasks",
)
