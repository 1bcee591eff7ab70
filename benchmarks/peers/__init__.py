"""Who is compared. A folder each: a small Django project of its own, and how its worker is started."""

from benchmarks.peers.ours import OURS, OURS_ON_SQLITE
from benchmarks.peers.procrastinate import PROCRASTINATE

PEERS = (OURS, PROCRASTINATE)

__all__ = ["OURS", "OURS_ON_SQLITE", "PEERS"]
