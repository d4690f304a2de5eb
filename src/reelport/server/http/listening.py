"""Opens the socket that the service listens on, and explains why it can't be opened."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from reelport.errors import UsageError
from reelport.server.settings import Settings

BACKLOG = 2048


@contextmanager
def open_listener(settings: Settings) -> Iterator[socket.socket]:
    """Open a listening socket on the host and port of the settings; UsageError when that fails."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Name the protocol: only then asyncio sets TCP_NODELAY, without which each answer waits 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"The host {settings.host!r} is none of this machine's: {error.strerror}.") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError as error:
            raise UsageError(_explain_bind_error(settings, error)) from None
        yield listener


def _explain_bind_error(settings: Settings, error: OSError) -> str:
    place = f"{settings.host}:{settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{place} is in use by another program: stop it, or take another port with --port (REELPORT_PORT), "
                "0 for a free one."
            )
        case errno.EACCES:
            return f"{place} may not be used by this user: take a port above 1023 with --port (REELPORT_PORT)."
        case _:
            return f"{place} can't be listened on: {error.strerror}."


def format_address(listener: socket.socket) -> str:
    """Format the address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
