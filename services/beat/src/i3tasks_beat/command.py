"""``i3tasks-beat``: repair what was left behind, once a second."""

from __future__ import annotations

import sys

import click

from i3tasks_django.service import HIGHEST_PORT, environment_number, leaving, start

SERVICE = "i3tasks-beat"


@click.command()
def beat() -> None:
    """Fire schedules, ring for due tries, rescue lost ones and clean up until SIGTERM or Ctrl+C.

    Reads DJANGO_SETTINGS_MODULE, PORT (of the health sidecar, 8080 by default), I3TASKS_GRACE_SECONDS (8)
    and I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    # Nothing of Django's may be imported before start() has set it up.
    from i3tasks_django.beating import run_beat

    with leaving(SERVICE):
        sys.exit(run_beat(environment_number("PORT", 8080, most=HIGHEST_PORT)))
