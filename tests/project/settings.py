"""The test suite's Django project. Processes that tests start are told their surroundings by environment."""

import os
from datetime import timedelta
from pathlib import Path

from i3tasks_django.types import I3TasksSettings, PullQueue, PushQueue
from project.variants import varied

SECRET_KEY = "tests"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
STATIC_URL = "/static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "i3tasks_django",
    "project",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

SQLITE = varied(
    {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_SQLITE", str(Path(__file__).with_name("unused.sqlite3"))),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
)
POSTGRES = varied(
    {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ.get("TEST_POSTGRES_PORT", ""),
        "USER": "postgres",
        "NAME": os.environ.get("TEST_POSTGRES_NAME", "postgres"),
    }
)
DATABASES = {"default": POSTGRES if os.environ.get("TEST_POSTGRES_PORT") else SQLITE}

PUBSUB_CONFIG = {
    "EMULATOR": True,
    "HOST": os.environ.get("TEST_PUBSUB", "127.0.0.1:1"),
    "PROJECT_ID": os.environ.get("TEST_PROJECT", "test"),
    "CREDENTIALS": None,
}
I3TASKS = I3TasksSettings(
    namespace=os.environ.get("TEST_NAMESPACE", "tasks.test"),
    default_queue=PushQueue(
        "default", "default", os.environ.get("TEST_PUSH_ENDPOINT", "http://127.0.0.1:1/i3/tasks-push/")
    ),
    other_queues=(PullQueue("heavy", "heavy-pull"),),
    lease=timedelta(seconds=float(os.environ.get("TEST_LEASE_SECONDS", "60"))),
)
