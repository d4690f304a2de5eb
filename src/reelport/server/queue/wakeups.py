"""How processes hear of each other: workers that there is work, services that a report has ended.

Each has a bell on its machine; that there is work is told across machines too, by NOTIFY on PostgreSQL. A bell
that is missed loses nothing: both look by themselves as well, only later.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Connection, Engine, text

from reelport.facts.durable import translate_io_errors
from reelport.server.settings import Settings

CHANNEL = "reelport_jobs"
_LISTEN_SECONDS = 0.5
_log = structlog.get_logger()


class Occasion(StrEnum):
    """What a bell is rung for; the end of its name."""

    WORK = ".bell"
    ENDED = ".ended"


def notify_listeners(connection: Connection) -> None:
    """Ring at the end of this transaction wherever a worker listens to the same PostgreSQL."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def notify(settings: Settings, occasion: Occasion = Occasion.WORK) -> None:
    """Wake everyone of this data directory on this machine who has a bell for that."""
    with contextlib.suppress(FileNotFoundError):
        for wakeup in settings.workers_root.glob(f"*{occasion}"):
            # Refused when nobody is behind it, or when it rings already.
            with contextlib.suppress(OSError):
                descriptor = os.open(wakeup, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(descriptor, b"!")
                finally:
                    os.close(descriptor)


@contextlib.contextmanager
def open_wakeup(settings: Settings, owner: str, occasion: Occasion) -> Iterator[Wakeup]:
    """A bell of one's own within the block; those of the same kind that killed processes left are taken down."""
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
    """Let NOTIFY ring the bell within the block; SQLite has none, and needs none."""
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
    # Imported here: with SQLite nobody need wait for it.
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
            _log.warning("not listening", reason=str(error).strip())
            ended.wait(_LISTEN_SECONDS)


class Wakeup:
    """One process's bell, a named pipe: it needs no port, and its name may be of any length."""

    def __init__(self, settings: Settings, owner: str, occasion: Occasion = Occasion.WORK) -> None:
        self.path: Path = settings.workers_root / f"{owner}{occasion}"
        os.mkfifo(self.path, 0o600)
        # Open for both, so that it never reads as ended when a ringer leaves.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, seconds: float) -> bool:
        """Until it rings, or so many seconds; whether it rang."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if ready:
            self.clear()
        return bool(ready)

    def fileno(self) -> int:
        """What becomes readable when it rings."""
        return self._descriptor

    def clear(self) -> None:
        """Ready to ring again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 65536)

    def notify(self) -> None:
        """Wake the one who waits; safe from any thread and from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"!")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)
