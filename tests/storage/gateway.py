"""A gateway in front of an object store that a test closes and opens: closed, nobody can reach the store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16


class Gateway:
    """Passes the bytes of connections on, both ways. Its address stays while it is closed."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._port = 0
        self.open()

    @property
    def endpoint(self) -> str:
        """Where the store is reached through it."""
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Take connections, at the address of before."""
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and end those that there are."""
        if self._listener is not None:
            # What waits in `accept` would go on with a listener that is merely closed.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in tuple(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                onward = socket.create_connection(self._upstream)
                self._open |= {taken, onward}
                for one, other in ((taken, onward), (onward, taken)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


@contextmanager
def serve_gateway(endpoint: str) -> Iterator[Gateway]:
    """Serve an open gateway in front of this endpoint."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    gateway = Gateway((host, int(port)))
    try:
        yield gateway
    finally:
        gateway.close()
