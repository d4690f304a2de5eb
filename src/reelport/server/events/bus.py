"""The event bus: delivers an event, published with its change, to waiting processes.

An event is a hint. It may be lost, and it may come for a change that was rolled back. So a process that receives
an event reads the state, and a process that waits reads the state from time to time: a lost event costs only time.
"""

from __future__ import annotations

import os
import select
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class Kind(StrEnum):
    """What happened; each kind says what the subject of its events is."""

    REPORT_QUEUED = "report_queued"
    """A report (its id) is due for a worker."""
    REPORT_ENDED = "report_ended"
    """A report (its id) is finished, failed, or was withdrawn or expired before it was made.

    Or a form of one (its id and suffix) was made or could not be.
    """
    FORM_QUEUED = "form_queued"
    """A form (the report's id and the suffix) is to be made of a finished report."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, and to what."""

    kind: Kind
    subject: str

    def encode(self) -> bytes:
        """Write the event as a line."""
        return f"{self.kind} {self.subject}\n".encode()

    @classmethod
    def decode(cls, line: bytes) -> Self | None:
        """Read a line that `encode` wrote, without its end; None for any other."""
        with suppress(ValueError):
            kind, _, subject = line.decode().partition(" ")
            return cls(Kind(kind), subject)
        return None


POLL_SECONDS = 1.0
"""The longest wait. After it the state is read without an event, so that a lost event costs a second at most."""

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
        events may have been lost. Read the state then: what one waits for may have happened.
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
        """Put a line into the pipe; a full one loses it, and holds enough to end the wait."""
        with suppress(OSError):
            os.write(self._writer, line)

    def _receive(self) -> tuple[Event, ...]:
        read = b""
        with suppress(BlockingIOError):
            while more := os.read(self._reader, _MOST):
                read += more
        lines = read.splitlines()
        events = tuple(filter(None, map(Event.decode, lines)))
        return events if len(events) == len(lines) else ()


OPTION = "event_bus"
"""The execution option by which an engine of the state knows its bus."""

AFTER_COMMIT = "after_commit"
"""The execution option of a connection with what is to be called when its transaction has committed."""


class EventBus(Protocol):
    """Carries events between the processes of an installation."""

    def publish(self, connection: Connection, event: Event) -> None:
        """Publish an event in a transaction that writes: its commit delivers the event."""

    def subscribe(self, *kinds: Kind) -> AbstractContextManager[Subscription]:
        """Receive events of these kinds within the block. StorageError when that can't begin."""


def publish(connection: Connection, event: Event) -> None:
    """Publish an event in a transaction of the state: its commit delivers the event."""
    bus: EventBus = connection.get_execution_options()[OPTION]
    bus.publish(connection, event)


def subscribe(db: Engine, *kinds: Kind) -> AbstractContextManager[Subscription]:
    """Receive events of these kinds within the block, from every process with the same state."""
    bus: EventBus = db.get_execution_options()[OPTION]
    return bus.subscribe(*kinds)
