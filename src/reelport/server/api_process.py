"""Entry point of an API process: `python -m reelport.server.api_process SOCKET`."""

from __future__ import annotations

import signal
import socket
import sys

import structlog

from reelport.errors import ReelportError
from reelport.server import logs
from reelport.server.process import exit_process, exit_with_parent
from reelport.server.settings import read_settings
from reelport.server.web_server import serve_on
from reelport.storage.modes import private, set_readers


def main() -> None:
    """Serve the inherited socket until SIGTERM, or until the starting service is gone."""
    settings = read_settings()
    set_readers(settings.readers)
    logs.configure(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_process)
    exit_with_parent()
    with private(), socket.socket(fileno=int(sys.argv[1])) as listener:
        try:
            serve_on(settings, listener)
        except ReelportError as error:
            structlog.get_logger(__name__).error("no API process", reason=str(error))
            raise SystemExit(error.exit_status) from None


if __name__ == "__main__":
    main()
