"""One of several API processes, as `api_processes` starts it: `python -m reelport.server.api_process SOCKET`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

import structlog

from reelport.errors import ReelportError
from reelport.facts.modes import private, set_readers
from reelport.server import logs
from reelport.server.http.web_server import serve_on
from reelport.server.serve import exit_process
from reelport.server.settings import read_settings


def main() -> None:
    """Answer on the inherited socket until SIGTERM, or until the service that started this process is gone."""
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
    # Not by a buffered reader: its lock, held by a thread that waits, breaks the end of the interpreter.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # At once, as if killed: another service may be starting already, and nobody would keep this process any more.
    os._exit(1)


if __name__ == "__main__":
    main()
