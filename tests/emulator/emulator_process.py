"""The embedded Pub/Sub as the process it is meant to be."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

READY = re.compile(r"PUBSUB_EMULATOR_HOST=(\S+) PUBSUB_CERTS_URL=(\S+)\n")


@dataclass(frozen=True, slots=True)
class EmulatorProcess:
    process: "subprocess.Popen[str]"
    target: str
    certs_url: str


@contextmanager
def emulator_process(*arguments: str) -> Iterator[EmulatorProcess]:
    """`python -m i3tasks_emulator` with these arguments, ready; killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "i3tasks_emulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            ready = READY.fullmatch(line)
            assert ready is not None, (line, process.stderr and process.stderr.read())
            yield EmulatorProcess(process, ready[1], ready[2])
        finally:
            process.kill()
