"""Celery on Redis, its results in the database by django-celery-results."""

from benchmarks.peers.peer import Peer

CELERY = Peer(
    name="celery",
    project="benchmarks.peers.celery",
    is_durable=False,
    distributions=("celery", "django-celery-results"),
    # Pins a python-dateutil that is older than the workspace's.
    requirements=("celery[redis]==5.7.0", "django-celery-results==2.6.0"),
    needs=frozenset({"redis"}),
    worker=("celery", "--app", "benchmarks.peers.celery.app", "worker", "--loglevel", "WARNING"),
    finished="SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
    remark="worker: its default pool, a process for each core; calls live in Redis, in memory",
)
