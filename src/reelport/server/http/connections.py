"""Connections with time limits and strict framing; beyond a number the slowest is closed.

A client has limited time to send a request and to read its answer. Without these limits, a client that opens
connections and sends nothing, or reads nothing, could take all open files and all memory of this process. A connection
buffers only a piece of its request body and a piece of its answer.

Framing refuses request smuggling, and bodies mostly of chunk framing: parsing a chunk costs as much as some hundreds of
bytes, and its framing is never counted as part of the body.

uvicorn has no hook for this: its settings limit neither slow heads nor slow readers, an app sees a request once its
head is parsed, and its body without frames. A protocol of our own around uvicorn's would parse each request twice. So
`Connection` extends the class of uvicorn, whose version is bounded, by its callbacks and the attributes it shows.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Self

import h11
from prometheus_client import Counter
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from reelport.server.addresses import unmap_address
from reelport.server.api_memory import UNSENT_BYTES

_FREE_CHUNKS = 200
"""Chunks that every body may have, however small they are."""
_MEAN_CHUNK_BYTES = 256
"""Average bytes that further chunks must have."""
_FREE_FRAMING_BYTES = 65_536
"""Bytes of chunk framing that every body may have; beyond them, at most as many as the body has bytes."""
_ABSOLUTE_FORM = re.compile(rb"https?://(?P<host>[^/?#]+)(?P<path>[^#]*)", re.IGNORECASE)


class _StrictFraming(h11.Connection):
    """Parses requests strictly: one body length, no tiny chunks. Marks a last answer.

    A request with both Content-Length and Transfer-Encoding may smuggle another one past a proxy (RFC 9112, 6.1).
    """

    refusal: str | None = None
    """Why the request was refused, for its client; None where it just isn't HTTP."""

    _received = 0
    """Bytes received since the head of the request."""
    _chunks = 0
    _body = 0

    def receive_data(self, data: bytes) -> None:
        """Count and buffer received bytes."""
        self._received += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:  # noqa: ANN401 - as h11 has it
        """Return the next event. RemoteProtocolError for two body lengths or tiny chunks."""
        event = super().next_event()
        match event:
            case h11.Request():
                self._received = self._chunks = self._body = 0
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                    self._refuse("The request has both Content-Length and Transfer-Encoding: send one of them.")
                return _to_origin_form(event)
            case h11.Data():
                self._chunks += event.chunk_start
                self._body += len(event.data)
                self._check_body_framing()
        return event

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]  # all overloads in one
        """Return an event's bytes. An answer before the whole body closes the connection."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            kept = [(name, value) for name, value in event.headers.raw_items() if name.lower() != b"connection"]
            event = h11.Response(
                status_code=event.status_code, headers=[*kept, (b"connection", b"close")], reason=event.reason
            )
        return super().send(event)

    def _check_body_framing(self) -> None:
        if self._chunks > _FREE_CHUNKS + self._body // _MEAN_CHUNK_BYTES:
            self._refuse(f"The body comes in too many small chunks: send at least {_MEAN_CHUNK_BYTES} bytes in each.")
        if self._received > _FREE_FRAMING_BYTES + 2 * self._body:
            self._refuse("The frames of the body's chunks are longer than the body: send no extensions of chunks.")

    def _refuse(self, sentence: str) -> None:
        self.refusal = sentence
        raise h11.RemoteProtocolError(sentence)


def _to_origin_form(request: h11.Request) -> h11.Request:
    # The host of a whole address becomes its Host, whatever the header said (RFC 9112, 3.2.2).
    address = _ABSOLUTE_FORM.fullmatch(request.target)
    if address is None:
        return request
    headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"host"]
    path = address["path"] if address["path"].startswith(b"/") else b"/" + address["path"]
    return h11.Request(
        method=request.method,
        headers=[(b"Host", address["host"]), *headers],
        target=path,
        http_version=request.http_version,
    )


_RESERVED_FILES = 100
"""Open files reserved for the database, and for connections that are just being accepted."""
ACCEPTED_AT_ONCE = 4
"""Connections accepted in one go before open ones are served: thousands of new ones can't keep those waiting."""
_WRITE_BUFFER_BYTES = 65_536
"""Bytes of an answer that are buffered for a slow client before the app has to wait (back-pressure)."""
_UNSENT_BYTES = 131_072
"""Bytes that the system takes ahead of the network."""
_READ_AHEAD_BYTES = 16_384
"""Bytes of a request body that are read before the app asks for them."""
_DISCARDED_AT_ONCE_BYTES = 262_144
"""Bytes read at once while the rest of a body is discarded: none of them is kept or parsed."""
_LINGERING_SECONDS = 10.0
"""Time for a client to finish sending a body that was answered early: many read the answer only afterwards."""
_LINGERING_BYTES = 16 * 1_048_576
"""Bytes of such a body that are discarded before the connection is closed anyway."""


class _DelayedCloseTransport:
    """A transport that doesn't close: uvicorn would before a client sees its answer."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.write = transport.write
        self.close = close

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the transport's own
        return getattr(self._transport, name)


class Connection(H11Protocol):
    """A connection. No timer runs while its request is answered or waits in a long poll."""

    request_seconds: ClassVar[float] = 75
    """Time for a request to arrive, its body included, from the start of the connection or the end of the last answer.

    Longer than the pauses of programs that poll over one connection: a request that is sent just when the
    connection is closed is lost, and few programs retry it.
    """

    stalled_seconds: ClassVar[float] = 60
    """Longest time in which a client may read nothing of what is buffered for it."""

    max_connections: ClassVar[int] = 4000
    """Most connections at the same time."""

    crowded_out: ClassVar[Counter | None] = None
    """Counts the connections that were closed because there were too many."""

    unsent_bytes: ClassVar[int] = UNSENT_BYTES
    """Most buffered bytes of answers that clients haven't read yet, of all connections."""

    _timers: ClassVar[dict[Connection, asyncio.TimerHandle]] = {}
    """Timers of connections whose client has to send or read something; the longest running one first."""

    _unsent: ClassVar[dict[Connection, int]] = {}
    """Unread bytes of stalled connections; the longest stalled one first."""

    @classmethod
    def limited(cls, files: int) -> type[Self]:
        """Return a connection class for so many open files."""
        # A download has its file open beside its connection.
        fitting = min(cls.max_connections, (files - _RESERVED_FILES) // 2)
        return type(cls.__name__, (cls,), {"max_connections": fitting})

    conn: _StrictFraming

    _discarding = False
    """Whether incoming bytes are discarded, because the connection is about to close."""

    _discarded = 0
    """Bytes that were discarded."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; of too many connections close the one that idles longest."""
        self._sockets_own = transport
        super().connection_made(_DelayedCloseTransport(transport, self._close))  # type: ignore[arg-type]
        if self.client is not None:  # Else an IPv4 proxy would not be trusted at a socket of both versions.
            self.client = unmap_address(self.client[0]), self.client[1]
        self.conn = _StrictFraming(h11.SERVER)
        _limit_buffers(transport)
        self._restart_timer()
        if len(self.connections) > self.max_connections:
            # There is at least one timer: this connection's.
            next(iter(self._timers))._abort()  # noqa: SLF001 - another of this class
            if self.crowded_out is not None:
                self.crowded_out.inc()

    def data_received(self, data: bytes) -> None:
        """Parse incoming bytes; pause reading a body until the app asks for more of it."""
        if self._discarding:
            self._discarded += len(data)
            if self._discarded > _LINGERING_BYTES:
                self._abort()
            return
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.body and not self._discarding:
            self.flow.pause_reading()
        self._restart_timer()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 for malformed HTTP, and close once the client has seen it."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            reason = (self.conn.refusal or msg).encode()
            headers = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(reason))),
                ("Connection", "close"),
            ]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=reason), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.cycle.body = bytearray()
        super().on_response_complete()
        self._restart_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer and the count of unread bytes."""
        self._stop_timer()
        self._unsent.pop(self, None)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read; too much unread in total closes the longest stalled one."""
        super().pause_writing()
        self._start_timer(self.stalled_seconds)
        self._unsent[self] = self.transport.get_write_buffer_size()
        if sum(self._unsent.values()) > self.unsent_bytes:
            next(iter(self._unsent))._abort()  # noqa: SLF001 - another of this class

    def resume_writing(self) -> None:
        """Stop waiting: the client has read what was buffered."""
        super().resume_writing()
        self._unsent.pop(self, None)
        if not (self._discarding or self.transport.is_closing()):
            self._stop_timer()
            self._restart_timer()

    def _close(self) -> None:
        """Close once the answer is sent; linger first where a request body still arrives."""
        if self._sockets_own.is_closing():
            return
        if self.conn.their_state is h11.SEND_BODY:
            self._linger()
            return
        if self._sockets_own.get_write_buffer_size():
            self._start_timer(self.stalled_seconds)
        self._sockets_own.close()

    def _linger(self) -> None:
        """Shut down writing, then discard what arrives, unparsed, for a bounded time and size.

        Closing a socket with unread bytes resets the connection, and the client might lose the answer.
        """
        self._discarding = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        self._sockets_own.write_eof()
        _limit_read_size(self._sockets_own, _DISCARDED_AT_ONCE_BYTES)
        self.flow.resume_reading()
        self._stop_timer()
        self._start_timer(_LINGERING_SECONDS)

    def _restart_timer(self) -> None:
        if self._discarding or self._sockets_own.is_closing():  # the timer that ends it runs already
            return
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            # While the last answer is still being sent, the limit for reading it counts, not that for a next request.
            self._start_timer(self.stalled_seconds if self.transport.get_write_buffer_size() else self.request_seconds)
        else:
            self._stop_timer()

    def _start_timer(self, seconds: float) -> None:
        if self not in self._timers:
            left = self._sockets_own.get_write_buffer_size()
            self._timers[self] = self.loop.call_later(seconds, self._end_timer, seconds, left)

    def _stop_timer(self) -> None:
        timer = self._timers.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _end_timer(self, seconds: float, left: int) -> None:
        """Close the connection, unless its client has read some of the bytes `left` meanwhile."""
        if self._sockets_own.get_write_buffer_size() < left and not self._discarding:
            self._stop_timer()
            self._start_timer(seconds)
        else:
            self._abort()

    def _abort(self) -> None:
        self._stop_timer()
        self._unsent.pop(self, None)
        # Not `close`: that would wait for a client that reads nothing.
        self.transport.abort()


def _limit_buffers(transport: asyncio.Transport) -> None:
    transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
    _limit_read_size(transport, _READ_AHEAD_BYTES)
    # Else the system would buffer megabytes for a slow client. Bytes in flight in the network stay unlimited.
    lowest_unsent, mine = getattr(socket, "TCP_NOTSENT_LOWAT", None), transport.get_extra_info("socket")
    if lowest_unsent is not None and mine is not None and mine.family != socket.AF_UNIX:
        mine.setsockopt(socket.IPPROTO_TCP, lowest_unsent, _UNSENT_BYTES)


def _limit_read_size(transport: asyncio.Transport, count: int) -> None:
    transport.max_size = count  # type: ignore[attr-defined]  # what asyncio reads from the system at once
