"""The command: `i3tasks-emulator --port 8085`."""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence

from i3tasks_emulator.server import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code: 0, or 1 when it cannot listen.

    One line on standard output says that it is ready, and where:

        PUBSUB_EMULATOR_HOST=127.0.0.1:8085 PUBSUB_CERTS_URL=http://127.0.0.1:41234/oauth2/v1/certs
    """
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options.host, options.port, options.http_port))
    except OSError as error:
        # The text names the address: it may be that of the gRPC port or that of the certificates.
        sys.stderr.write(f"i3tasks-emulator: cannot listen: {error.strerror}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="i3tasks-emulator", description="An embedded Pub/Sub for development and tests, in memory."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8085, help="gRPC port, 0 for a free one (default: 8085)")
    parser.add_argument(
        "--http-port", type=int, default=0, help="port of the push tokens' certificates (default: a free one)"
    )
    return parser


async def _run(host: str, port: int, http_port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await serve(host, port, http_port)
    # What the imports leave never goes away. Without this every full collection walks over all of it, which
    # costs as much as the rest of a large publish request.
    gc.freeze()
    sys.stdout.write(f"PUBSUB_EMULATOR_HOST={server.target} PUBSUB_CERTS_URL={server.certs_url}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
