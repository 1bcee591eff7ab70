import os

from benchmarks.peers.base_settings import *  # noqa: F403
from benchmarks.peers.base_settings import INSTALLED_APPS
from i3tasks_django.types import I3TasksSettings, PullQueue, PushQueue

INSTALLED_APPS = [*INSTALLED_APPS, "i3tasks_django", "benchmarks.peers.ours"]
ROOT_URLCONF = "i3tasks_django.urls"
PUBSUB_CONFIG = {"EMULATOR": True, "HOST": os.environ["BENCH_PUBSUB"], "PROJECT_ID": "bench"}
I3TASKS = I3TasksSettings(
    namespace="bench",
    default_queue=PushQueue("default", "default", os.environ["BENCH_PUSH_ENDPOINT"]),
    other_queues=(PullQueue("heavy", "heavy"),),
)
