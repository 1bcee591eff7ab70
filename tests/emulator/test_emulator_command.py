"""The command, as a process."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emulator_client import PubSub, Target
from emulator_process import EmulatorProcess, emulator_process

MAX_START_SECONDS = 10.0
MAX_RSS_MB = 90.0


def rss_mb(process_id: int) -> float:
    """Resident memory; 0 where the system does not tell."""
    status = Path(f"/proc/{process_id}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def stopped(running: EmulatorProcess, number: signal.Signals) -> tuple[int, str]:
    """The exit code after a signal, and what was written to standard error."""
    running.process.send_signal(number)
    _, errors = running.process.communicate(timeout=10)
    return running.process.returncode, errors


def test_it_is_small_and_says_where_it_listens_as_soon_as_it_does() -> None:
    started = time.monotonic()
    with emulator_process("--port", "0") as running:
        seconds = time.monotonic() - started
        memory = rss_mb(running.process.pid)
        client = PubSub(Target("embedded", running.target))
        client.topic()
        client.channel.close()

    print(f"ready in {seconds:.2f} s with {memory:.0f} MB")
    assert running.target.startswith("127.0.0.1:")
    assert running.certs_url.startswith("http://127.0.0.1:")
    # It takes less than a second; this bound is for a machine that has other things to do.
    assert seconds < MAX_START_SECONDS
    assert memory < MAX_RSS_MB


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_without_a_word_also_while_it_is_busy(number: signal.Signals) -> None:
    with emulator_process("--port", "0") as running:
        client = PubSub(Target("embedded", running.target))
        client.topic()
        client.subscription()
        client.subscription("the-pushed", push_config={"push_endpoint": "http://127.0.0.1:9/nobody"})
        with client.stream() as stream:
            client.publish(b"one")
            stream.receive_count(1)

            assert stopped(running, number) == (0, "")
        client.channel.close()


def test_a_port_that_is_taken_is_one_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "i3tasks_emulator", "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert port in result.stderr
    assert "in use" in result.stderr
