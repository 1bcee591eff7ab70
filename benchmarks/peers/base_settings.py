"""What the Django projects of all peers have in common."""

import os

SECRET_KEY = "benchmarks"  # noqa: S105 - of a project that lives for minutes
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["*"]
MIDDLEWARE: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]

DATABASES: dict[str, dict[str, object]]
if "BENCH_SQLITE" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["BENCH_SQLITE"],
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": os.environ["BENCH_POSTGRES_PORT"],
            "USER": "bench",
            "NAME": os.environ["BENCH_POSTGRES_NAME"],
            # By Django's default some peers would open a connection for each task.
            "CONN_MAX_AGE": None,
            # Statements that come again are prepared, as where nothing stands before the database that
            # forgets them. Without it (Django's default) PostgreSQL plans each call of every peer anew.
            "OPTIONS": {"server_side_binding": True, "prepare_threshold": 5},
        }
    }

# Nobody spends time on a line for every task.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"errors": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["errors"], "level": "WARNING"},
}
