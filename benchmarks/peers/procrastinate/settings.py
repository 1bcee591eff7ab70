from benchmarks.peers.base_settings import *  # noqa: F403
from benchmarks.peers.base_settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "procrastinate.contrib.django"]
# Named instead of found: an app of ours would have the label of theirs.
PROCRASTINATE_IMPORT_PATHS = ["benchmarks.peers.procrastinate.tasks"]
