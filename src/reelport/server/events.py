"""Events: how the processes of an installation tell each other what has happened.

An event is a hint. It may be lost, and it may come for a change that was rolled back. So a process that receives
an event reads the state, and a process that waits reads the state from time to time: a lost event costs only time.

With SQLite each subscriber has a named pipe. It needs no port, and its path may be of any length. With PostgreSQL each
has a connection of its own that listens. NOTIFY is part of a transaction, and delivered when it commits, to every
machine. A proxy that gives each transaction another connection (pgbouncer in transaction mode) delivers no event.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reelport.server.credentials import short_id
from reelport.server.database_address import list_parameters
from reelport.storage.durable import translate_io_errors

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL, Connection, Engine


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
        _wait(POLL_SECONDS, self._reader)
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


PIPES = "event_pipes"
"""The execution option of a SQLite engine with the folder of its subscribers' pipes."""

AFTER_COMMIT = "after_commit"
"""The execution option of a connection with what is to be called when its transaction has committed."""

_CHANNEL = "reelport_"
"""PostgreSQL has a channel for each kind, which begins with this, and whose payload is the subject."""

_RETRY_SECONDS = 0.5


def publish(connection: Connection, event: Event) -> None:
    """Publish an event in a transaction of the state: its commit delivers the event."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (f"{_CHANNEL}{event.kind}", event.subject))
    else:
        options = connection.get_execution_options()
        options[AFTER_COMMIT].append(partial(_write, options[PIPES], f"*.{event.kind}.*pipe", event.encode()))


def subscribe(db: Engine, *kinds: Kind) -> AbstractContextManager[Subscription]:
    """Receive events of these kinds within the block, from every process with the same state.

    StorageError when that can't begin.
    """
    if db.dialect.name == "postgresql":
        return _subscribe_by_connection(db.url, kinds)
    return _subscribe_by_pipe(db.get_execution_options()[PIPES], kinds)


@contextmanager
def _subscribe_by_pipe(folder: Path, kinds: tuple[Kind, ...]) -> Iterator[Subscription]:
    """Receive events through a pipe whose name tells the kinds, and which goes after the block."""
    pipe = folder / ".".join([f"{os.getpid()}-{short_id()}", *kinds, "pipe"])
    with translate_io_errors(folder):
        descriptor = _make_pipe(pipe)
    try:
        _write(folder, "*.pipe", b"")  # which removes the pipes that killed processes left
        yield Subscription(descriptor, descriptor)
    finally:
        os.close(descriptor)
        pipe.unlink(missing_ok=True)


def _make_pipe(pipe: Path) -> int:
    """Make a pipe and open it before it has its final name, so that it has a reader then."""
    pipe.parent.mkdir(parents=True, exist_ok=True)
    draft = pipe.with_suffix(".new")
    os.mkfifo(draft, 0o600)
    # Open it for writing too: otherwise it would read as ended when the last writer closes it.
    descriptor = os.open(draft, os.O_RDWR | os.O_NONBLOCK)
    draft.rename(pipe)
    return descriptor


def _write(folder: Path, pattern: str, line: bytes) -> None:
    with suppress(OSError):  # There is no folder before anybody has subscribed.
        for pipe in folder.glob(pattern):
            with suppress(OSError):  # A full pipe holds enough to end a wait; its process may be ending.
                _write_to_reader(pipe, line)


def _write_to_reader(pipe: Path, line: bytes) -> None:
    """Write into a pipe that has a reader, and remove one that has none."""
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # Its process is dead.
            pipe.unlink(missing_ok=True)
        return
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def list_subscribers(folder: Path) -> tuple[int, ...]:
    """List the processes (ids) that subscribe through the pipes of a folder and are alive."""
    found = set()
    for pipe in folder.glob("*.pipe"):
        with suppress(OSError):  # It has no reader.
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            found.add(int(pipe.name.partition("-")[0]))
    return tuple(sorted(found))


@contextmanager
def _subscribe_by_connection(url: URL, kinds: tuple[Kind, ...]) -> Iterator[Subscription]:
    """Receive notifications by a thread, which connects again when it must."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    subscription = Subscription(reader, writer)
    ended, end = os.pipe()
    thread = threading.Thread(target=_listen, args=(url, kinds, subscription, ended), name="listener", daemon=True)
    thread.start()
    try:
        yield subscription
    finally:
        os.close(end)  # which the thread sees at the other end
        thread.join()
        for descriptor in (ended, reader, writer):
            os.close(descriptor)


def _listen(url: URL, kinds: tuple[Kind, ...], subscription: Subscription, ended: int) -> None:
    import psycopg  # noqa: PLC0415 - only where the state is in PostgreSQL
    import structlog  # noqa: PLC0415 - slow to import, and commands without a subscription need none

    while not _wait(0, ended):
        try:
            with psycopg.connect(**{**list_parameters(url), "autocommit": True}) as connection:
                for kind in kinds:
                    connection.execute(f"LISTEN {_CHANNEL}{kind}")
                # An event that was published before is missed: reading the state finds its change.
                subscription.wake()
                while True:
                    for event in filter(None, map(_read_notification, connection.notifies(timeout=0))):
                        subscription.put(event.encode())
                    if ended in _wait(None, ended, connection.fileno()):
                        return
        except (psycopg.Error, UnicodeError) as error:  # a database without an encoding delivers any bytes
            structlog.get_logger().warning("can't listen for events, trying again", reason=str(error).strip())
            _wait(_RETRY_SECONDS, ended)


def _read_notification(notification: psycopg.Notify) -> Event | None:
    """Read an event of one line; None for what is none: any role of the database may notify."""
    if not notification.payload.isprintable():
        return None
    event = Event.decode(f"{notification.channel.removeprefix(_CHANNEL)} {notification.payload}".encode())
    return event if event and len(event.encode()) <= select.PIPE_BUF else None


def _wait(seconds: float | None, *descriptors: int) -> set[int]:
    """Wait until one of the descriptors is readable or closed at its other end; returns which."""
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in waiting.poll(None if seconds is None else seconds * 1000)}
