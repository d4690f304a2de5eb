"""The rest of a long body straight from its socket: the library copies each byte three times, 64 KB at a time."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Self

import httpx2

from reelport.client.steps import Lost

_AT_ONCE = 1 << 18
_LONG = 1 << 20
"""Bytes that are still to come from which on this is worth a connection, which can't be used again."""

_SIZE = re.compile(r"[0-9]{1,19}")


class LongBody:
    """What is still to come of a body whose length was told, from the socket of its connection."""

    def __init__(self, connection: socket.socket, total: int, received: int, timeout: float) -> None:
        self._socket = connection
        self._total = total
        self._received = received
        self._timeout = timeout

    @classmethod
    def of(cls, response: httpx2.Response, received: int, timeout: float) -> Self | None:
        """The rest of an answer's body, when the library has given all that it had received; None where it must go on.

        Only of HTTP/1.1 with a length and no transfer coding, and where the socket is that of the very bytes.
        """
        length = _SIZE.fullmatch(response.headers.get("content-length", ""))
        stream = response.extensions.get("network_stream")
        plain = response.http_version == "HTTP/1.1" and "transfer-encoding" not in response.headers
        if not (plain and length and stream) or int(length[0]) - received < _LONG:
            return None
        connection, tls = stream.get_extra_info("socket"), stream.get_extra_info("ssl_object")
        # Within TLS to a proxy that is spoken to by TLS itself, the socket gives bytes that are still to be decrypted.
        if not isinstance(connection, socket.socket) or isinstance(tls, ssl.SSLObject):
            return None
        return cls(connection, int(length[0]), received, timeout)

    def read(self) -> bytes | Lost:
        """The next bytes; none at the end."""
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
