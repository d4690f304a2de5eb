"""How workers hear that there is work: a bell for each on its machine, NOTIFY across machines on PostgreSQL.

A bell that is missed loses nothing: workers look by themselves as well, only later.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, text

from reelport.server.settings import Settings

CHANNEL = "reelport_jobs"
_SUFFIX = ".bell"


def announce(connection: Connection) -> None:
    """Ring at the end of this transaction wherever a worker listens to the same PostgreSQL."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def ring(settings: Settings) -> None:
    """Wake every worker of this data directory on this machine."""
    with contextlib.suppress(FileNotFoundError):
        for bell in settings.workers_root.glob(f"*{_SUFFIX}"):
            # Refused when nobody is behind it, or when it rings already.
            with contextlib.suppress(OSError):
                descriptor = os.open(bell, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(descriptor, b"!")
                finally:
                    os.close(descriptor)


class Bell:
    """One worker's bell, a named pipe: it needs no port, and its name may be of any length."""

    def __init__(self, settings: Settings, owner: str) -> None:
        self.path: Path = settings.workers_root / f"{owner}{_SUFFIX}"
        os.mkfifo(self.path, 0o600)
        # Open for both, so that it never reads as ended when a ringer leaves.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, seconds: float) -> bool:
        """Until it rings, or so many seconds; whether it rang."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 65536)
        return bool(ready)

    def ring(self) -> None:
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
