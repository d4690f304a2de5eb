"""Entry point of an API process: `python -m reelport.server.api_process SOCKET`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

import structlog

from reelport.errors import ReelportError
from reelport.server import logs
from reelport.server.http.web_server import serve_on
from reelport.server.serve import exit_process
from reelport.server.settings import read_settings
from reelport.storage.modes import private, set_readers


def main() -> None:
    """Serve the inherited socket until SIGTERM, or until the starting service is gone."""
    settings = read_settings()
    set_readers(settings.readers)
    logs.configure(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_process)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with private(), socket.socket(fileno=int(sys.argv[1])) as listener:
        try:
            serve_on(settings, listener)
        except ReelportError as error:
            structlog.get_logger(__name__).error("no API process", reason=str(error))
            raise SystemExit(error.exit_status) from None


def _end_with_parent() -> None:
    # Not `sys.stdin.read`: a thread that waits in it holds the buffer's lock, which breaks the interpreter's exit.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # Exit at once, as if killed: nobody supervises this process any more, and a new service may be starting already.
    os._exit(1)


if __name__ == "__main__":
    main()
