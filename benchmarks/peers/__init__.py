"""Who is compared. A folder each: a small Django project of its own, and how its worker is started."""

from benchmarks.peers.celery import CELERY
from benchmarks.peers.django_tasks import DJANGO_TASKS, TWO_DJANGO_TASKS
from benchmarks.peers.dramatiq import DRAMATIQ
from benchmarks.peers.ours import OURS, OURS_ALONE, OURS_ON_SQLITE
from benchmarks.peers.predecessor import PREDECESSOR
from benchmarks.peers.procrastinate import PROCRASTINATE

PEERS = (OURS, PROCRASTINATE, DJANGO_TASKS, TWO_DJANGO_TASKS, PREDECESSOR, CELERY, DRAMATIQ)

__all__ = ["OURS", "OURS_ALONE", "OURS_ON_SQLITE", "PEERS"]
