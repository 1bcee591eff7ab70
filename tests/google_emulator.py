"""Google's own Pub/Sub emulator, wherever the Google Cloud SDK has installed it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ports import free_port

START_SECONDS = 30

SHARED = "TEST_GOOGLE_EMULATOR"
"""Environment variable: the address of one that runs already, for all processes of a test run."""


def find_jar() -> Path | None:
    """The emulator's jar, or None where the SDK or its emulator component is not installed."""
    for root in _sdk_roots():
        jars = sorted((root / "platform/pubsub-emulator/lib").glob("*-all.jar"))
        if jars:
            return jars[-1]
    return None


@contextmanager
def google_emulator(*, is_own: bool = False) -> Iterator[str]:
    """Run the emulator and give its address, "127.0.0.1:PORT". It forgets everything at the end.

    Args:
        is_own: start one in any case, also where the test run shares one.

    Raises:
        RuntimeError: there is no jar, or it is there and does not start.
    """
    if not is_own and (shared := os.environ.get(SHARED)):
        yield shared
        return
    jar = find_jar()
    if jar is None:
        raise RuntimeError("Google's Pub/Sub emulator is not installed")
    port = free_port()
    # Its share of the machine is kept small: it is a witness here, not a competitor.
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-jar", str(jar)]
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                [*command, "--host=127.0.0.1", f"--port={port}"], stdout=log, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise RuntimeError(f"Google's Pub/Sub emulator does not start: {error}") from error
        try:
            if not _answers(process, port):
                log.seek(0)
                raise RuntimeError(f"Google's Pub/Sub emulator does not start: {log.read()[-2000:].decode()}")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _sdk_roots() -> Iterator[Path]:
    yield Path("/usr/lib/google-cloud-sdk")
    gcloud = shutil.which("gcloud")
    if gcloud is not None:
        info = subprocess.run(
            [gcloud, "info", "--format=value(installation.sdk_root)"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if info.stdout.strip():
            yield Path(info.stdout.strip())


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
