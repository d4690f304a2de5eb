"""Waits for events on a thread or an event loop, and never for longer than a second."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from reelport.server.events.event import Event

POLL_SECONDS = 1.0
"""The longest wait: whoever waits then reads the state without an event. A lost event so costs a second at most."""

_MOST = 65_536


class Subscription:
    """The events that a process receives: lines in a pipe, each written at once and whole."""

    def __init__(self, reader: int, writer: int) -> None:
        """`reader` and `writer` are the ends of the pipe; they don't block."""
        self._reader = reader
        self._writer = writer

    def wait(self) -> tuple[Event, ...]:
        """Wait for events, POLL_SECONDS at most.

        Returns none when the wait is over, when `wake` was called, when something came that is no event, or when
        events may have been lost: whatever one waits for may have happened then.
        """
        waiting = select.poll()
        waiting.register(self._reader, select.POLLIN)
        waiting.poll(POLL_SECONDS * 1000)
        return self._receive()

    async def wait_on_event_loop(self) -> tuple[Event, ...]:
        """Wait as `wait` does, without blocking the event loop."""
        import anyio  # noqa: PLC0415 - a worker has no event loop

        with anyio.move_on_after(POLL_SECONDS):
            await anyio.wait_readable(self._reader)
        return self._receive()

    def wake(self) -> None:
        """End this wait, or else the next one. Safe in any thread and in a signal handler."""
        self.put(b"\n")

    def put(self, line: bytes) -> None:
        """Put a line into the pipe; it is lost where the pipe is full or closed.

        A full pipe holds enough to end the wait.
        """
        with suppress(OSError):
            os.write(self._writer, line)

    def _receive(self) -> tuple[Event, ...]:
        lines = self._read().splitlines()
        events = tuple(filter(None, map(Event.decode, lines)))
        return events if len(events) == len(lines) else ()

    def _read(self) -> bytes:
        read = b""
        with suppress(BlockingIOError):
            while more := os.read(self._reader, _MOST):
                read += more
        return read
