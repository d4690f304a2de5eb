"""Reads a response's body that must bring so many bytes in a time; else it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reelport.client.steps import Flow, Lost, read
from reelport.wording import format_count, format_duration

LEAST_BYTES = 1 << 16
"""Bytes that the time must bring; the same as what makes a try of a download worth its while."""


@dataclass(slots=True)
class SteadyBody:
    """The open body, which may take `window` seconds of the clock for `LEAST_BYTES`.

    Only time in which it was waited for counts: what the caller does with the bytes is no fault of the body's. Of one
    read at most `silence` seconds count, after which the transport gives up: beyond that the process, or its event
    loop, stood still.
    """

    clock: Callable[[], float]
    window: float
    silence: float
    _waited: float = 0.0
    _bytes: int = 0

    def read(self) -> Flow[bytes | Lost]:
        """Read the next bytes; none at the end. Lost where it trickles, too.

        What came too late is given all the same, for it may be the last: only more after it, and too little, is Lost.
        """
        before = self.clock()
        data = yield from read()
        if isinstance(data, Lost) or not data:
            return data
        is_late = self._waited >= self.window
        self._waited += min(self.clock() - before, self.silence)
        self._bytes += len(data)
        if self._bytes >= LEAST_BYTES:
            self._waited, self._bytes = 0.0, 0
        elif is_late:
            return Lost(f"it brought {format_count(self._bytes, 'byte')} in {format_duration(self._waited)}")
        return data
