"""The socket that a service listens on, and what to say where there can be none."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from reelport.errors import UsageError
from reelport.server.settings import Settings

BACKLOG = 2048


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket that listens where the settings say."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: asyncio turns TCP_NODELAY on only then, and without it each answer waits 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"The host {settings.host!r} is none of this machine's: {error.strerror}.") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError as error:
            raise UsageError(_why(settings, error)) from None
        yield listener


def _why(settings: Settings, error: OSError) -> str:
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


def address_of(listener: socket.socket) -> str:
    """Where a socket listens, as an address to call."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
