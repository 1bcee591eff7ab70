"""``i3tasks-beat``: repair what was left behind, once a second."""

from __future__ import annotations

import sys

import click

from i3tasks_django.service import environment_number, leave, start

SERVICE = "i3tasks-beat"


@click.command()
def main() -> None:
    """Ring for due tries and rescue lost ones until SIGTERM or Ctrl+C.

    Reads DJANGO_SETTINGS_MODULE, PORT (of the health sidecar, 8080 by default) and I3TASKS_LOG_LEVEL.
    """
    start(SERVICE)
    # Nothing of Django's may be imported before start() has set it up.
    from i3tasks_django.beating import run_beat

    port = environment_number(SERVICE, "PORT", 8080)
    try:
        sys.exit(run_beat(port))
    except OSError as error:
        leave(SERVICE, f"the health sidecar cannot listen on port {port}: {error}; set PORT to a free one")


if __name__ == "__main__":
    main()
