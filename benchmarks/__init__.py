"""i3tasks beside its peers: ``uv run --group bench python -m benchmarks``."""

import sys
from pathlib import Path

# The tests' servers are these as well: a throw-away PostgreSQL, and Google's emulator where it is installed.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
