import os

from benchmarks.peers.base_settings import *  # noqa: F403
from benchmarks.peers.base_settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_results"]
CELERY_BROKER_URL = os.environ["BENCH_REDIS"]
CELERY_RESULT_BACKEND = "django-db"
CELERY_IMPORTS = ["benchmarks.peers.celery.tasks"]
