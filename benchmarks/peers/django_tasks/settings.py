from importlib.util import find_spec

from benchmarks.peers.base_settings import *  # noqa: F403
from benchmarks.peers.base_settings import INSTALLED_APPS

# Django has the interface itself from version 6 on.
_INTERFACE = [] if find_spec("django.tasks") else ["django_tasks"]

INSTALLED_APPS = [*INSTALLED_APPS, *_INTERFACE, "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
