"""Ports for servers that are started a moment later."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_PORTS = range(20_000, 32_000)
"""Below those that systems hand out by themselves: such a one could become somebody else's connection between
our look and the server's start, which takes seconds."""

# Not the dice of ``random``: every test process may have been given the same seed.
_DICE = random.SystemRandom()


def free_port() -> int:
    """A port that nobody listens on."""
    for port in _DICE.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise RuntimeError(f"no port is free between {_PORTS.start} and {_PORTS.stop}")
