"""Entry point of an API process: `python -m reelport.server.api_process SOCKET`."""

from __future__ import annotations

import signal
import socket
import sys

from reelport.server.log_library import import_structlog


def main() -> None:
    """Serve the inherited socket until SIGTERM, or until the starting service is gone."""
    import_structlog()
    import structlog  # noqa: PLC0415 - after it was imported without Rich

    from reelport.errors import ReelportError  # noqa: PLC0415 - what follows imports structlog, too
    from reelport.server import logs  # noqa: PLC0415 - see above
    from reelport.server.process import exit_process, exit_with_parent  # noqa: PLC0415 - see above
    from reelport.server.settings import read_settings  # noqa: PLC0415 - see above
    from reelport.server.web_server import serve_on  # noqa: PLC0415 - see above
    from reelport.storage.durable import private, set_readers  # noqa: PLC0415 - see above

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
