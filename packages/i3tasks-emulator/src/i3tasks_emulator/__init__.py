"""An embedded Pub/Sub for development and tests: the same gRPC API, in memory."""
