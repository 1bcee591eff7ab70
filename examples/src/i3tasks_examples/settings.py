"""The example's Django settings: everything that differs from run to run comes from the environment.

Each value has a default that suits the pieces started by hand (see the README beside this package).
"""

import os

from i3tasks_django.types import I3TasksSettings, PullQueue, PushQueue

# A fallback for a laptop. The demo makes a new key for every run, a deployment brings its own.
SECRET_KEY = os.environ.get("EXAMPLE_SECRET_KEY", "only-for-development-on-this-machine")
DEBUG = os.environ.get("EXAMPLE_DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "i3tasks_examples.urls"
WSGI_APPLICATION = None
STATIC_URL = "/static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "i3tasks_django",
    "i3tasks_examples.survey",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
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

_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ.get("EXAMPLE_DATABASE", "i3tasks-example.sqlite3"),
    # i3tasks asks for these three on SQLite, and says so in a system check: several processes write.
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
# Where its server is, and who we are, PostgreSQL's own library reads from PGHOST, PGPORT, PGUSER, PGPASSWORD.
_POSTGRES = {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ.get("EXAMPLE_POSTGRES")}
DATABASES = {"default": _POSTGRES if _POSTGRES["NAME"] else _SQLITE}

PUBSUB_CONFIG = {
    "EMULATOR": True,
    "HOST": os.environ.get("EXAMPLE_PUBSUB", "127.0.0.1:8085"),
    "PROJECT_ID": "i3tasks-example",
    "CREDENTIALS": None,
}
_PUSH_ENDPOINT = os.environ.get("EXAMPLE_PUSH_ENDPOINT", "http://127.0.0.1:8080/i3/tasks-push/")
I3TASKS = I3TasksSettings(
    namespace="survey",
    default_queue=PushQueue("default", "receiver", _PUSH_ENDPOINT),
    other_queues=(
        PullQueue("heavy", "worker"),
        # What follows a group would stand in line behind all files on their queues.
        PushQueue("reports", "receiver", _PUSH_ENDPOINT),
    ),
)
