import os

from django_i3tasks.types import I3TasksSettings, PullQueue, PushQueue

from benchmarks.peers.base_settings import *  # noqa: F403
from benchmarks.peers.base_settings import INSTALLED_APPS

# Its URLs import the admin, which serves nobody here.
INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_i3tasks",
]
SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]
ROOT_URLCONF = "benchmarks.peers.predecessor.urls"
PUBSUB_CONFIG = {
    "EMULATOR": True,
    "HOST": os.environ["BENCH_PUBSUB"],
    "PROJECT_ID": "bench",
    "CREDENTIALS": False,
}
I3TASKS = I3TasksSettings(
    namespace="bench",
    default_queue=PushQueue("default", "default", os.environ["BENCH_PUSH_ENDPOINT"]),
    other_queues=(PullQueue("heavy", "heavy"),),
    schedules=(),
)
