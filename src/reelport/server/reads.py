"""Reads of the state for requests: at once on the event loop where SQLite keeps it, in a thread for PostgreSQL.

SQLite answers in a tenth of a millisecond, less than a thread costs. While another process or thread commits it can't
be read: then nothing waits but the requests themselves, one of which looks every few milliseconds for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from sqlalchemy import Engine

from reelport.server.database import BUSY_SECONDS, StateBusy, open_reader
from reelport.server.settings import Settings

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_PAUSE = 0.002


class Reads:
    """How one process reads its state. To be used on its event loop only."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._at_once = None if settings.database_url else open_reader(settings)
        self._line = anyio.Lock()

    @property
    def at_once(self) -> bool:
        """Whether a read runs on the event loop: it must be a short one, and free of side effects."""
        return self._at_once is not None

    async def run(self, read: Callable[[Engine, *Ts], T], *args: *Ts) -> T:
        """What `read` gives; it is called again where the state was busy. StorageError when it can't be used."""
        if self._at_once is None:
            return await anyio.to_thread.run_sync(read, self._db, *args)
        if not self._line.locked():
            try:
                return read(self._at_once, *args)
            except StateBusy:
                pass
        async with self._line:
            return await self._repeat(read, self._at_once, *args)

    async def _repeat(self, read: Callable[[Engine, *Ts], T], db: Engine, *args: *Ts) -> T:
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return read(db, *args)
            except StateBusy:
                if time.monotonic() > until:
                    raise
            await anyio.sleep(_PAUSE)

    def close(self) -> None:
        """Let go of the state."""
        if self._at_once is not None:
            self._at_once.dispose()
