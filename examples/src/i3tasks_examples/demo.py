"""``i3tasks-demo``: survey the standard library with Pub/Sub, receiver, worker and beat of its own."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from i3tasks_examples.errors import DemoFailed
from i3tasks_examples.interrupts import Interrupted, Interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0 when everything went as promised, 1 when not, 130 after Ctrl+C (128 + the signal's number).
    """
    interrupts = Interrupts()
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="i3tasks-demo-"))
    try:
        code = _run(options, folder, interrupts)
    except DemoFailed as error:
        sys.stderr.write(f"\ni3tasks-demo: {error}\nThe logs and the database are in {folder}\n")
        return 1
    except Interrupted as interrupted:
        sys.stderr.write("\nStopped.\n")
        code = 128 + interrupted.number
    shutil.rmtree(folder, ignore_errors=True)
    return code


def _run(options: argparse.Namespace, folder: Path, interrupts: Interrupts) -> int:
    # Here and not above: this takes a moment, and Ctrl+C must be heard from the first one.
    from i3tasks_examples.running import Run

    run = Run(folder, interrupts, limit=options.limit, seconds=options.timeout, is_staying=options.stay)
    try:
        run.start()
        run.survey()
        run.conclude(options.report)
        if options.stay:
            run.stay()
    finally:
        run.stop()
    interrupts.check()  # somebody may have lost patience while everything was being stopped
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="i3tasks-demo",
        description="Survey every module of this machine's standard library with background tasks: an "
        "embedded Pub/Sub, a receiver, a worker and a beat, on SQLite, in a temporary folder.",
    )
    parser.add_argument(
        "--report",
        type=_file,
        default=Path("i3tasks-demo-report.html"),
        metavar="PATH",
        help="where to write the report (%(default)s)",
    )
    parser.add_argument(
        "--stay",
        action="store_true",
        help="leave everything up afterwards, with an admin to log in to, until Ctrl+C",
    )
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="survey so many modules only (about 35 at least)"
    )
    parser.add_argument(
        "--timeout", type=_positive, default=120, metavar="SECONDS", help="give up after (%(default)s)"
    )
    return parser


def _file(text: str) -> Path:
    """Refused now rather than after the survey."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no place for a file")
    return path


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    sys.exit(main())
