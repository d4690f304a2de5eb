"""Cross-process wake-ups: tell workers that a job was queued, and API processes that a report ended.

Within a machine each process has a named pipe; across machines PostgreSQL's NOTIFY wakes the workers. A lost wake-up
only costs time: both kinds of process also poll the state.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Self

import structlog
from sqlalchemy import Connection, Engine, text

from reelport.server.settings import Settings
from reelport.storage.durable import translate_io_errors

CHANNEL = "reelport_jobs"
_LISTEN_SECONDS = 0.5
_log = structlog.get_logger()


class Occasion(StrEnum):
    """What a wake-up announces; the value is the suffix of the pipe's name."""

    WORK = ".wakeup"
    ENDED = ".ended"


def notify_listeners(connection: Connection) -> None:
    """Wake the workers that listen to the same PostgreSQL, on any machine, once this transaction commits."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def notify(settings: Settings, occasion: Occasion = Occasion.WORK) -> None:
    """Wake every process of this data directory on this machine that waits for this occasion."""
    with contextlib.suppress(FileNotFoundError):
        for wakeup in settings.workers_root.glob(f"*{occasion}"):
            # Fails when no process reads the pipe, or when the pipe is full: then a wake-up is pending already.
            with contextlib.suppress(OSError):
                descriptor = os.open(wakeup, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(descriptor, b"!")
                finally:
                    os.close(descriptor)


@contextlib.contextmanager
def open_wakeup(settings: Settings, owner: str, occasion: Occasion) -> Iterator[Wakeup]:
    """Open a wake-up pipe for the block, and remove pipes for the same occasion that killed processes left."""
    with translate_io_errors(settings.workers_root):
        settings.workers_root.mkdir(parents=True, exist_ok=True)
        for wakeup in settings.workers_root.glob(f"*{occasion}"):
            try:
                os.close(os.open(wakeup, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                wakeup.unlink(missing_ok=True)
        own = Wakeup(settings, owner, occasion)
    with own:
        yield own


@contextlib.contextmanager
def forward_notifications(db: Engine, wakeup: Wakeup) -> Iterator[None]:
    """Forward PostgreSQL's NOTIFY to the wake-up within the block.

    With SQLite do nothing: all are on this machine.
    """
    if db.dialect.name != "postgresql":
        yield
        return
    ended = threading.Event()
    listener = threading.Thread(target=_notify_from_database, args=(db, wakeup, ended), name="listener", daemon=True)
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()


def _notify_from_database(db: Engine, wakeup: Wakeup, ended: threading.Event) -> None:
    # Imported here: SQLite doesn't need it.
    import psycopg  # noqa: PLC0415 - see above

    address = db.url.set(drivername="postgresql").render_as_string(hide_password=False)
    while not ended.is_set():
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                wakeup.notify()
                while not ended.is_set():
                    for _ in connection.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                        wakeup.notify()
        except psycopg.OperationalError as error:
            _log.warning("can't listen for NOTIFY, trying again", reason=str(error).strip())
            ended.wait(_LISTEN_SECONDS)


class Wakeup:
    """The wake-up of one process: a named pipe, which needs no port and whose path may be of any length."""

    def __init__(self, settings: Settings, owner: str, occasion: Occasion = Occasion.WORK) -> None:
        self.path: Path = settings.workers_root / f"{owner}{occasion}"
        os.mkfifo(self.path, 0o600)
        # Open it for writing too: otherwise it would read as ended when the last writer closes it.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, seconds: float) -> bool:
        """Wait for a wake-up, `seconds` at most; True when one came."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if ready:
            self.clear()
        return bool(ready)

    def fileno(self) -> int:
        """The descriptor that becomes readable on a wake-up."""
        return self._descriptor

    def clear(self) -> None:
        """Discard the wake-ups that have come so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 65536)

    def notify(self) -> None:
        """Wake the waiting thread; safe to call from any thread and from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"!")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)
