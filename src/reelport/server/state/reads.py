"""Reads the state for requests: on the event loop for SQLite, in a thread for PostgreSQL.

SQLite answers in a tenth of a millisecond, less than a thread costs. With its rollback journal it can't be read while
a commit runs. Only the requests wait then, not the event loop: one of them retries every 2 ms, the others after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from sqlalchemy import Engine

from reelport.server.settings import Settings
from reelport.server.state.database import StateBusy
from reelport.server.state.sqlite_engine import BUSY_SECONDS, open_reader

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_PAUSE = 0.002


class Reads:
    """Reads the state for one process. Use it on the event loop only."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._reader = None if settings.database_url else open_reader(settings)
        self._turn = anyio.Lock()

    @property
    def runs_on_event_loop(self) -> bool:
        """Whether a read runs on the event loop: then it must be short, and free of side effects."""
        return self._reader is not None

    async def run(self, read: Callable[[Engine, *Ts], T], *args: *Ts) -> T:
        """Call `read`, again while the state is busy. StorageError when the state fails."""
        if self._reader is None:
            return await anyio.to_thread.run_sync(read, self._db, *args)
        until = time.monotonic() + BUSY_SECONDS
        if not self._turn.locked():
            try:
                return read(self._reader, *args)
            except StateBusy:
                pass
        async with self._turn:
            while True:
                try:
                    return read(self._reader, *args)
                except StateBusy:
                    if time.monotonic() >= until:
                        raise
                await anyio.sleep(_PAUSE)

    def close(self) -> None:
        """Close the connection to the state."""
        if self._reader is not None:
            self._reader.dispose()
