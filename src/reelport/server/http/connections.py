"""Connections: a request has to come whole in time and an answer to be taken, and the slowest make room for others.

Else whoever opens connections and sends nothing, or reads nothing, has all the open files and the memory that this
process may have. What a connection keeps in memory is a piece of its body and a piece of its answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Self

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from reelport.server.http.framing import StrictFraming
from reelport.server.settings import Settings

_OWN = 100
"""Open files that are left for the state, and for connections that are just being accepted."""
ACCEPTED_AT_ONCE = 4
"""Connections that are accepted before the open ones are looked at: thousands of new ones keep none waiting."""
_TAKEN = 16_384
"""Bytes of a body that are taken before they are asked for."""
_THROWN_AWAY = 262_144
"""Bytes that are taken at once when nobody wants them any more: none of them is kept, nor looked at."""
_UNSENT = 65_536
"""Bytes of an answer that wait in memory for their reader before no more are made."""
_LINGERING_SECONDS = 10.0
"""Time for a caller to end a body whose answer was given already: it may see the answer only afterwards."""
_LINGERING_BYTES = 16 * 1_048_576
"""Bytes of such a body that are thrown away before the connection ends all the same."""


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


class _LastingTransport:
    """A transport whose end is the connection's to see to: uvicorn would close it before a caller sees its answer."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.write = transport.write
        self.close = close

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the transport's own
        return getattr(self._transport, name)


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

    conn: StrictFraming

    _refused = False
    """Whether what comes is thrown away: the connection ends."""

    _thrown_away = 0
    """Bytes that were."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; if there are too many connections, the one that waits longest ends."""
        self._sockets_own = transport
        super().connection_made(_LastingTransport(transport, self._close))  # type: ignore[arg-type]
        self.conn = StrictFraming(h11.SERVER, self.conn._max_incomplete_event_size)  # noqa: SLF001 - uvicorn's choice
        _keep_small(transport)
        self._judge()
        if len(self.connections) > self.most:
            # This one at least is awaited.
            next(iter(self._awaited))._end()  # noqa: SLF001 - another of this class

    def data_received(self, data: bytes) -> None:
        """Take no more of a body until it is asked for, and look whether the request is whole."""
        if self._refused:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGERING_BYTES:
                self._end()
            return
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.body and not self._refused:
            self.flow.pause_reading()
        self._judge()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP that is taken here, and end the connection once the caller has seen it."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            said = (self.conn.refusal or msg).encode()
            headers = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(said))),
                ("Connection", "close"),
            ]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=said), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self.cycle.body = bytearray()
        super().on_response_complete()
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
        if not (self._refused or self.transport.is_closing()):
            self._done()
            self._judge()

    def _close(self) -> None:
        """End the connection when its caller has the answer; where its body is still coming, let it see that first."""
        if self._sockets_own.is_closing():
            return
        if self.conn.their_state is h11.SEND_BODY:
            self._linger()
            return
        if self._sockets_own.get_write_buffer_size():
            self._await(self.stalled_seconds)
        self._sockets_own.close()

    def _linger(self) -> None:
        """Say that no more is sent, and throw away what comes, unparsed, for a bounded time and number of bytes.

        What has come unread by the time that a connection is closed would take the answer away from its caller.
        """
        self._refused = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unset_keepalive_if_required()
        self._sockets_own.write_eof()
        _take_at_once(self._sockets_own, _THROWN_AWAY)
        self.flow.resume_reading()
        self._done()
        self._await(_LINGERING_SECONDS)

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
