"""Sends files to a connection's socket by sendfile, which copies nothing.

An extension of ASGI offers it to the app. Bytes that go to the socket past its transport go in order, since nothing of
the transport's waits then, and the answer's framing counts them. A client that takes no more is waited for as ever: a
small piece is given to the transport, which says when it is gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import h11
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.flow_control import FlowControl

from reelport.server.http.framing import StrictFraming
from reelport.storage.file_store import OpenFile

SendFile = Callable[[OpenFile, int, int], Awaitable[int]]
"""Sends some of so many bytes of a file from a position on, and returns how many.

0 where they have to be read and sent as any others. ClientDisconnect where the client went away.
"""
WRITE_BUFFER_BYTES = 65_536
"""Bytes of an answer that are buffered for a slow client before the app has to wait (back-pressure)."""
LEAST_UNSENT_BYTES = 131_072
"""Bytes that the system takes ahead of the network."""
_MOST_UNSENT_BYTES = 1_048_576
"""As many of a file for a client who reads fast: else the process would be woken for each 64 kB."""
_FAST_SECONDS = 0.05
"""Time in which a fast client has taken half of them."""
_EXTENSION = "reelport.sendfile"
_LEAST_BYTES = 131_072
_WAKING_BYTES = 4096
"""Bytes that wait in the transport until a client reads on."""


def find_sendfile(scope: MutableMapping[str, Any]) -> SendFile | None:
    """Find what a request's server offers; None where the answer must pass through it."""
    extensions = scope.get("extensions") or {}
    offered: SendFile | None = extensions.get(_EXTENSION, {}).get("send")
    return offered


def offer_sendfile(scope: MutableMapping[str, Any], send: SendFile) -> None:
    """Offer it to what is called with this scope."""
    scope["extensions"] = {**(scope.get("extensions") or {}), _EXTENSION: {"send": send}}


def is_plain(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes reach the client as they are written to the socket: without TLS."""
    has_socket = transport.get_extra_info("socket") is not None
    return hasattr(os, "sendfile") and has_socket and transport.get_extra_info("sslcontext") is None


def limit_unsent(transport: asyncio.BaseTransport, count: int) -> None:
    """Let the system take so many bytes ahead of the network, where it can be told."""
    mine = transport.get_extra_info("socket")
    lowest_unsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if lowest_unsent is not None and mine is not None and mine.family != socket.AF_UNIX:
        mine.setsockopt(socket.IPPROTO_TCP, lowest_unsent, count)


class FileSender:
    """Sends files over one connection."""

    def __init__(
        self, transport: asyncio.Transport, framing: StrictFraming, flow: FlowControl, is_gone: Callable[[], bool]
    ) -> None:
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        self._framing = framing
        self._flow = flow
        self._is_gone = is_gone
        self._most = _LEAST_BYTES
        """Bytes that are looked for in memory: about as many as the socket is going to take."""
        self._unsent = LEAST_UNSENT_BYTES

    async def send(self, file: OpenFile, position: int, count: int) -> int:
        """Send some of these bytes, as `SendFile` says, once the client has read what waits."""
        # From now on a single byte that waits is waited for.
        self._transport.set_write_buffer_limits(high=0)
        if self._flow.write_paused:
            await self._wait()
        if self._is_gone() or self._transport.is_closing():
            raise ClientDisconnect
        try:
            sent = file.send_cached(self._socket.fileno(), position, min(count, self._framing.unsent, self._most))
        except BlockingIOError:
            return self._wait_in_transport(file, position)
        except OSError:
            # Of the file or of the socket: reading and sending as any others meets it again, and tells which.
            return 0
        if sent:
            self._framing.count_sent(sent)
        self._most = max(2 * sent, _LEAST_BYTES)
        return sent

    def finish(self) -> None:
        """Set the transport to what other answers need."""
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._limit_unsent(LEAST_UNSENT_BYTES)

    async def _wait(self) -> None:
        """Wait until the client has read what waits.

        The faster it does, the more is kept ready for it.
        """
        began = time.monotonic()
        await self._flow.drain()
        is_fast = time.monotonic() - began < _FAST_SECONDS
        if not self._transport.is_closing():
            self._limit_unsent(min(2 * self._unsent, _MOST_UNSENT_BYTES) if is_fast else LEAST_UNSENT_BYTES)

    def _limit_unsent(self, count: int) -> None:
        if count != self._unsent:
            limit_unsent(self._transport, count)
            self._unsent = count

    def _wait_in_transport(self, file: OpenFile, position: int) -> int:
        """Give the transport a small piece: it pauses until the client has taken it."""
        piece = file.read_cached(position, min(_WAKING_BYTES, self._framing.unsent)) or b""
        self._transport.write(self._framing.send(h11.Data(data=piece)) or b"")
        return len(piece)
