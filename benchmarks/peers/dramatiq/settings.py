import os

from benchmarks.peers.base_settings import *  # noqa: F403
from benchmarks.peers.base_settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_dramatiq", "benchmarks.peers.dramatiq"]
DRAMATIQ_BROKER = {
    "BROKER": "dramatiq.brokers.redis.RedisBroker",
    "OPTIONS": {"url": os.environ["BENCH_REDIS"]},
    "MIDDLEWARE": [
        "dramatiq.middleware.AgeLimit",
        "dramatiq.middleware.TimeLimit",
        "dramatiq.middleware.Callbacks",
        "dramatiq.middleware.Retries",
        "django_dramatiq.middleware.AdminMiddleware",
        "django_dramatiq.middleware.DbConnectionsMiddleware",
    ],
}
DRAMATIQ_RESULT_BACKEND = {
    "BACKEND": "dramatiq.results.backends.redis.RedisBackend",
    "BACKEND_OPTIONS": {"url": os.environ["BENCH_REDIS"]},
}
