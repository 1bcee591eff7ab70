"""An embedded Pub/Sub for development and tests: the same gRPC API, in memory."""

from i3tasks_emulator.embedded import EmbeddedPubSub
from i3tasks_emulator.server import RunningServer, serve

__all__ = ["EmbeddedPubSub", "RunningServer", "serve"]
