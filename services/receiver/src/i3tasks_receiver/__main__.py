"""``i3tasks-receiver``: hear Ctrl+C first, then import and run the rest."""

from __future__ import annotations

from i3tasks_core.interrupts import exit_on_signals


def main() -> None:
    exit_on_signals()
    # Here and not above: Django and click take a moment, and a signal must be heard from the first one.
    from i3tasks_receiver.command import serve

    serve()


if __name__ == "__main__":
    main()
