"""Connections: a request has to come whole in time and an answer to be taken, and the slowest make room for others.

Else whoever opens connections and sends nothing, or reads nothing, has all the open files that this process may have.
"""

from __future__ import annotations

import asyncio
import resource
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_OWN = 100
"""Open files that are left for the state, and for connections that are just being accepted."""
ACCEPTED_AT_ONCE = 20
"""Connections that are accepted before the first of them is looked at."""


class Connection(H11Protocol):
    """One connection. Nothing is awaited of its caller while a request is worked on or held."""

    seconds: ClassVar[float] = 75
    """Time for a request to come, its body included, from the start of the connection or the end of the last answer.

    Longer than the pauses of programs that poll over one connection: a request that is sent just when the
    connection ends is lost, and few of them send it again.
    """

    stalled_seconds: ClassVar[float] = 300
    """Time for a reader to take the megabyte that is on its way."""

    most: ClassVar[int] = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OWN) // 2
    """Connections at the same time: a download has its file open beside its connection."""

    _awaited: ClassVar[dict[Connection, asyncio.TimerHandle]] = {}
    """Connections whose caller has something to do, the one that has taken the longest first."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; if there are too many connections, the one that waits longest ends."""
        super().connection_made(transport)
        self._judge()
        # Where there is no limit it is negative.
        if 0 < self.most < len(self.connections):
            next(iter(self._awaited))._end()  # noqa: SLF001 - another of this class

    def data_received(self, data: bytes) -> None:
        """Look whether the request is whole."""
        super().data_received(data)
        self._judge()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._judge()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._done()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._await(self.stalled_seconds)

    def resume_writing(self) -> None:
        """The reader has taken what was on its way."""
        super().resume_writing()
        self._done()
        self._judge()

    def _judge(self) -> None:
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
        # At once: a reader that takes nothing would have it wait.
        self.transport.abort()
