"""Events on one machine, by a named pipe a subscriber; the choice of pipes or PostgreSQL.

A pipe needs no port, and its path may be of any length.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.server.credentials import short_id
from reelport.server.events.bus import AFTER_COMMIT, Event, EventBus, Kind, Subscription
from reelport.server.settings import Settings
from reelport.storage.durable import translate_io_errors

if TYPE_CHECKING:
    from sqlalchemy import Connection


class PipeBus:
    """Sends events through a folder's named pipes, whose names tell the kinds they are for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, connection: Connection, event: Event) -> None:
        """Write the event into every pipe for its kind once its transaction has committed."""
        deliver = partial(self._write, f"*.{event.kind}.*pipe", event.encode())
        connection.get_execution_options()[AFTER_COMMIT].append(deliver)

    @contextmanager
    def subscribe(self, *kinds: Kind) -> Iterator[Subscription]:
        """Receive events of these kinds through a pipe, which is removed after the block."""
        pipe = self._folder / ".".join([f"{os.getpid()}-{short_id()}", *kinds, "pipe"])
        with translate_io_errors(self._folder):
            descriptor = _make_pipe(pipe)
        try:
            self._write("*.pipe", b"")  # which removes the pipes that killed processes left
            yield Subscription(descriptor, descriptor)
        finally:
            os.close(descriptor)
            pipe.unlink(missing_ok=True)

    def _write(self, pattern: str, line: bytes) -> None:
        with suppress(OSError):  # There is no folder before anybody has subscribed.
            for pipe in self._folder.glob(pattern):
                with suppress(OSError):  # A full pipe holds enough to end a wait; its process may be ending.
                    _write(pipe, line)


def list_subscribers(folder: Path) -> tuple[int, ...]:
    """List the processes (ids) that subscribe through the pipes of a folder and are alive."""
    return tuple(sorted({int(pipe.name.partition("-")[0]) for pipe in folder.glob("*.pipe") if _has_reader(pipe)}))


def _has_reader(pipe: Path) -> bool:
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _make_pipe(pipe: Path) -> int:
    """Make a pipe and open it before it has its final name, so that it has a reader then."""
    pipe.parent.mkdir(parents=True, exist_ok=True)
    draft = pipe.with_suffix(".new")
    os.mkfifo(draft, 0o600)
    # Open it for writing too: otherwise it would read as ended when the last writer closes it.
    descriptor = os.open(draft, os.O_RDWR | os.O_NONBLOCK)
    draft.rename(pipe)
    return descriptor


def _write(pipe: Path, line: bytes) -> None:
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


def open_bus(settings: Settings) -> EventBus:
    """Choose named pipes on one machine, or PostgreSQL's NOTIFY to every machine."""
    if settings.database_url:
        from reelport.server.events.notifications import NotifyBus  # noqa: PLC0415 - loads psycopg

        return NotifyBus(settings.database_url)
    return PipeBus(settings.workers_root)
