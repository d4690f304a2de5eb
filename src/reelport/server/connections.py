"""Connections that bring requests: each has to come whole in time, and the slowest make room when there are too many.

Else whoever opens connections and sends nothing has all the open files that this process may have.
"""

from __future__ import annotations

import asyncio
import resource
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ACCEPTED_AT_ONCE = 20
"""Connections that are accepted before the first of them is looked at."""


class Connection(H11Protocol):
    """One connection. Nothing is awaited while a request is answered: not a held look, not a slow reader of a file."""

    seconds: ClassVar[float] = 30
    """Time for a request to come, its body included, from the start of the connection or the end of the last answer."""

    most: ClassVar[int] = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
    """Connections at the same time: a download has its file open beside its connection."""

    _coming: ClassVar[dict[Connection, asyncio.TimerHandle]] = {}
    """Connections whose request hasn't come whole, the one that has taken the longest first."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; if there are too many connections, the one that waits longest ends."""
        super().connection_made(transport)
        self._judge()
        # Where there is no limit it is -1.
        if 0 < self.most < len(self.connections):
            next(iter(self._coming))._end()  # noqa: SLF001 - another of this class

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
        self._arrived()
        super().connection_lost(exc)

    def _judge(self) -> None:
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self._arrived()
        elif self not in self._coming:
            self._coming[self] = self.loop.call_later(self.seconds, self._end)

    def _arrived(self) -> None:
        timer = self._coming.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        self._arrived()
        self.transport.close()
