"""Read a long body's rest from its socket; httpx2 copies each byte thrice, 64 KB at a time."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Self

import httpx2

from reelport.client.steps import Lost

_AT_ONCE = 1 << 18
_LONG = 1 << 20
"""Fewest remaining bytes for which this pays: the connection can't be reused afterwards."""

_SIZE = re.compile(r"[0-9]{1,19}")


class LongBody:
    """The rest of a body of known length, read from its connection's socket."""

    def __init__(self, connection: socket.socket, total: int, received: int, timeout: float) -> None:
        self._socket = connection
        self._total = total
        self._received = received
        self._timeout = timeout

    @classmethod
    def of(cls, response: httpx2.Response, received: int, timeout: float) -> Self | None:
        """Take over a body after all bytes that the library had; None where that can't be done.

        Works only for HTTP/1.1 with a length and no transfer coding, and where the socket carries the body's own bytes.
        """
        length = _SIZE.fullmatch(response.headers.get("content-length", ""))
        stream = response.extensions.get("network_stream")
        plain = response.http_version == "HTTP/1.1" and "transfer-encoding" not in response.headers
        if not (plain and length and stream) or int(length[0]) - received < _LONG:
            return None
        connection, tls = stream.get_extra_info("socket"), stream.get_extra_info("ssl_object")
        # With TLS inside TLS (to a proxy that itself speaks TLS), the socket gives bytes that are still encrypted.
        if not isinstance(connection, socket.socket) or isinstance(tls, ssl.SSLObject):
            return None
        return cls(connection, int(length[0]), received, timeout)

    def read(self) -> bytes | Lost:
        """Read the next bytes; none at the end."""
        left = self._total - self._received
        if not left:
            return b""
        try:
            self._socket.settimeout(self._timeout)
            data = self._socket.recv(min(_AT_ONCE, left))
        except TimeoutError:
            return Lost("the service fell silent")
        except OSError as error:
            return Lost((error.strerror or type(error).__name__).strip(". "))
        self._received += len(data)
        return data or Lost(
            "peer closed connection without sending complete message body "
            f"(received {self._received} bytes, expected {self._total})"
        )
