"""A signal stops the process it was sent to."""

from __future__ import annotations

import signal
import subprocess
import sys

SCRIPT = """
import os, signal, time
from i3tasks_django.signals import StopRequest

stop = StopRequest()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.write(writer, b"up")  # Python forgets a signal that comes before it has finished the fork
    while True:
        time.sleep(0.1)  # not one long one: it would not hear a signal that comes just before it
os.read(reader, 2)
os.kill(child, signal.SIGTERM)
status = os.waitpid(child, 0)[1]
print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else "went on", stop.is_set(), stop.wait(0))
os.kill(os.getpid(), signal.SIGTERM)
print(stop.wait(10), stop.is_set(), flush=True)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""


def test_a_forked_child_dies_of_its_own_signal_and_the_parent_is_not_told():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.splitlines() == [f"{signal.SIGTERM.value} False False", "True True"]
    assert done.returncode == 1  # of the second signal to itself
