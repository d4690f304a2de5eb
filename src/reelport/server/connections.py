"""Connections: a request has to come whole in time and an answer to be taken, and the slowest make room for others.

Else whoever opens connections and sends nothing, or reads nothing, has all the open files and the memory that this
process may have. What a connection keeps in memory is a piece of its body and a piece of its answer.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar, Self

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from reelport.server.settings import Settings

_OWN = 100
"""Open files that are left for the state, and for connections that are just being accepted."""
ACCEPTED_AT_ONCE = 4
"""Connections that are accepted before the open ones are looked at: thousands of new ones keep none waiting."""
_TAKEN = 16_384
"""Bytes of a body that are taken before they are asked for."""
_THROWN_AWAY = 262_144
"""Bytes of a body that are taken at once when nobody wants it any more: none of them is kept."""
_UNSENT = 65_536
"""Bytes of an answer that wait in memory for their reader before no more are made."""
_LINGERING_SECONDS = 10.0
"""Time for a caller to end a body whose answer was given already: it may see the answer only afterwards."""


class StrictFraming(h11.Connection):
    """Reads requests whose end is told in one way only.

    RFC 9112, 6.1: with both a length and chunks a request may be meant to smuggle another one past a proxy.
    """

    def next_event(self) -> Any:  # noqa: ANN401 - as h11 has it
        """The next event; RemoteProtocolError for a request with both."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        return event


class _Unsent:
    """Bytes that wait for readers, by connection, and of all of them."""

    def __init__(self) -> None:
        self.bytes = 0
        self._of: dict[Connection, int] = {}

    def add(self, connection: Connection, count: int) -> None:
        """Begin to wait for the reader of a connection."""
        self._of[connection] = count
        self.bytes += count

    def drop(self, connection: Connection) -> None:
        """Wait for it no more."""
        self.bytes -= self._of.pop(connection, 0)

    def oldest(self) -> Connection:
        """Whose reader has been waited for the longest."""
        return next(iter(self._of))


class Connection(H11Protocol):
    """One connection. Nothing is awaited of its caller while a request is worked on or held."""

    seconds: ClassVar[float] = 75
    """Time for a request to come, its body included, from the start of the connection or the end of the last answer.

    Longer than the pauses of programs that poll over one connection: a request that is sent just when the
    connection ends is lost, and few of them send it again.
    """

    stalled_seconds: ClassVar[float] = 60
    """Time for a reader to take the piece that is on its way."""

    most: ClassVar[int] = 4000
    """Connections at the same time."""

    unsent_bytes: ClassVar[int] = 134_217_728
    """Bytes of answers that wait for their readers, of all connections."""

    _awaited: ClassVar[dict[Connection, asyncio.TimerHandle]] = {}
    """Connections whose caller has something to do, the one that has taken the longest first."""

    _unsent: ClassVar[_Unsent] = _Unsent()
    """What waits for readers; of all connections, as `_awaited` is."""

    @classmethod
    def limited(cls, settings: Settings, files: int) -> type[Self]:
        """Connections as the settings limit them, in a process that may have so many open files."""
        # A download has its file open beside its connection.
        limits = {
            "seconds": settings.request_seconds,
            "stalled_seconds": settings.stalled_seconds,
            "most": min(settings.connections, (files - _OWN) // 2),
            "unsent_bytes": settings.unsent_bytes,
        }
        return type(cls.__name__, (cls,), limits)

    _refused = False
    """Whether what comes is thrown away: the connection ends."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; if there are too many connections, the one that waits longest ends."""
        super().connection_made(transport)
        self.conn = StrictFraming(h11.SERVER, self.conn._max_incomplete_event_size)  # noqa: SLF001 - uvicorn's choice
        _keep_small(transport)
        self._judge()
        if len(self.connections) > self.most:
            # This one at least is awaited.
            next(iter(self._awaited))._end()  # noqa: SLF001 - another of this class

    def data_received(self, data: bytes) -> None:
        """Take no more of a body until it is asked for, and look whether the request is whole."""
        if self._refused:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.SEND_BODY:
            _take_at_once(self.transport, _TAKEN)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.body:
            self.flow.pause_reading()
        self._judge()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP that is taken here, and end the connection once the caller has seen it.

        What has come unread by the time that a connection is closed would take the answer away from its caller.
        """
        self._refused = True
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=msg.encode()), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write_eof()
        self.flow.resume_reading()
        self._done()
        self._await(_LINGERING_SECONDS)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, or for the end of a body that nobody wants any more."""
        self.cycle.body = bytearray()
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._done()
            self._await(_LINGERING_SECONDS)
            _take_at_once(self.transport, _THROWN_AWAY)
        self._judge()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._done()
        self._unsent.drop(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the reader; if too much waits for readers, the one that has taken nothing longest ends."""
        super().pause_writing()
        self._await(self.stalled_seconds)
        self._unsent.add(self, self.transport.get_write_buffer_size())
        if self._unsent.bytes > self.unsent_bytes:
            self._unsent.oldest()._end()  # noqa: SLF001 - another of this class

    def resume_writing(self) -> None:
        """The reader has taken what was on its way."""
        super().resume_writing()
        self._unsent.drop(self)
        self._done()
        self._judge()

    def _judge(self) -> None:
        if self._refused:
            return
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            # The end of the last answer may still be on its way: that is the reader's time, not that of a next request.
            self._await(self.stalled_seconds if self.transport.get_write_buffer_size() else self.seconds)
        else:
            self._done()

    def _await(self, seconds: float) -> None:
        if self not in self._awaited:
            self._awaited[self] = self.loop.call_later(seconds, self._end)

    def _done(self) -> None:
        timer = self._awaited.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        self._done()
        self._unsent.drop(self)
        # At once: a reader that takes nothing would have it wait.
        self.transport.abort()


def _keep_small(transport: asyncio.Transport) -> None:
    """Have a connection keep only pieces in memory: of what it reads, of what it sends, and in the system."""
    transport.set_write_buffer_limits(high=_UNSENT)
    _take_at_once(transport, _TAKEN)
    mine = transport.get_extra_info("socket")
    lowest_unsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if lowest_unsent is not None and mine is not None and mine.family != socket.AF_UNIX:
        # The system would take megabytes ahead of a reader; what is underway in the network is not bounded by it.
        mine.setsockopt(socket.IPPROTO_TCP, lowest_unsent, 2 * _UNSENT)


def _take_at_once(transport: asyncio.Transport, count: int) -> None:
    """Have asyncio take no more bytes than this from the system at once."""
    transport.max_size = count  # type: ignore[attr-defined]
