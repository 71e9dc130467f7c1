"""`python -m infra.emulators storage|bigquery --port P --state DIR [--host 127.0.0.1]`: serve one emulator."""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from pathlib import Path

import uvicorn

_GRACE = 2  # seconds that open requests get to finish when the emulator is stopped


def main() -> None:
    """Serve until SIGTERM or SIGINT. Only errors are printed."""
    parser = argparse.ArgumentParser(prog="python -m infra.emulators", description=__doc__)
    parser.add_argument("service", choices=["storage", "bigquery"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="folder for all data; created if missing")
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.ERROR)
    # uvicorn raises the signal again after it has stopped. Without a handler the exit code would tell a failure.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))
    app = importlib.import_module(f"infra.emulators.{given.service}.{given.service}_app").create(given.state.resolve())
    # Clients keep connections for longer than uvicorn's default of five seconds; a request on a closed one fails.
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        log_config=None,
        access_log=False,
        timeout_keep_alive=600,
        timeout_graceful_shutdown=_GRACE,
    )


if __name__ == "__main__":
    main()
