"""Reads the state for requests: on the event loop for SQLite, in a thread for PostgreSQL.

SQLite answers in a tenth of a millisecond, less than a thread costs. With its rollback journal it can't be read while
a commit runs. Only the requests wait then, not the event loop: one of them retries every 2 ms for all that wait.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from sqlalchemy import Engine

from reelport.server.settings import Settings
from reelport.server.state.database import StateBusy
from reelport.server.state.sqlite_engine import BUSY_SECONDS, open_reader

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_PAUSE = 0.002
_BATCH = 50
"""Waiting reads that are served before other tasks of the event loop run."""


@dataclass(eq=False, slots=True)
class _WaitingRead:
    """A read that found the state busy; `woken` when done, or when it is to retry for all."""

    read: Callable[[Engine], Any]
    until: float = field(default_factory=lambda: time.monotonic() + BUSY_SECONDS)
    woken: anyio.Event = field(default_factory=anyio.Event)
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def attempt(self, db: Engine) -> bool:
        """Try to read; False when the state is still busy and there is time left to wait."""
        try:
            self.result = self.read(db)
        except StateBusy as busy:
            if time.monotonic() < self.until:
                return False
            self.error = busy
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the request whose read this is
            self.error = error
        self.done = True
        self.woken.set()
        return True


class Reads:
    """Reads the state for one process. Use it on the event loop only."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._reader = None if settings.database_url else open_reader(settings)
        self._waiting: deque[_WaitingRead] = deque()
        self._retrying = False

    @property
    def runs_on_event_loop(self) -> bool:
        """Whether a read runs on the event loop: then it must be short, and free of side effects."""
        return self._reader is not None

    async def run(self, read: Callable[[Engine, *Ts], T], *args: *Ts) -> T:
        """Call `read`, again while the state is busy. StorageError when the state fails."""
        if self._reader is None:
            return await anyio.to_thread.run_sync(read, self._db, *args)
        if not self._waiting:
            try:
                return read(self._reader, *args)
            except StateBusy:
                pass
        own = _WaitingRead(lambda db: read(db, *args))
        await self._wait(own, self._reader)
        if own.error is not None:
            raise own.error
        result: T = own.result
        return result

    async def _wait(self, own: _WaitingRead, db: Engine) -> None:
        """Wait until the read is done, by this task or another; one task retries for all."""
        self._waiting.append(own)
        try:
            while not own.done:
                if self._retrying:
                    await own.woken.wait()
                    own.woken = anyio.Event()
                    continue
                self._retrying = True
                try:
                    await self._retry_all(own, db)
                finally:
                    self._retrying = False
        finally:
            if not own.done:  # its caller has gone
                self._waiting.remove(own)
            if self._waiting and not self._retrying:
                self._waiting[0].woken.set()

    async def _retry_all(self, own: _WaitingRead, db: Engine) -> None:
        while not own.done:
            for _ in range(_BATCH):
                if not self._waiting or not self._waiting[0].attempt(db):
                    break
                self._waiting.popleft()
            if not own.done:
                await anyio.sleep(_PAUSE)

    def close(self) -> None:
        """Close the connection to the state."""
        if self._reader is not None:
            self._reader.dispose()
