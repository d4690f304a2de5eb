"""Reads of the state for requests: at once on the event loop where SQLite keeps it, in a thread for PostgreSQL.

SQLite answers in a tenth of a millisecond, less than a thread costs. With its rollback journal it can't be read while
somebody commits: then nothing waits but the requests themselves, one of which looks every few milliseconds for all of
them, and between two commits all of them are read.
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
from reelport.server.state.database import BUSY_SECONDS, StateBusy, open_reader

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_PAUSE = 0.002
_MOST_AT_ONCE = 50
"""Reads after which others on the event loop come in between."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A read that found the state busy. `woken` is set when it is done, or when its task is to look for all."""

    read: Callable[[Engine], Any]
    until: float = field(default_factory=lambda: time.monotonic() + BUSY_SECONDS)
    woken: anyio.Event = field(default_factory=anyio.Event)
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def attempt(self, db: Engine) -> bool:
        """Read; False when the state is busy still, and there is time left to wait."""
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
    """How one process reads its state. To be used on its event loop only."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._at_once = None if settings.database_url else open_reader(settings)
        self._waiting: deque[_Waiting] = deque()
        self._looking = False

    @property
    def at_once(self) -> bool:
        """Whether a read runs on the event loop: it must be a short one, and free of side effects."""
        return self._at_once is not None

    async def run(self, read: Callable[[Engine, *Ts], T], *args: *Ts) -> T:
        """What `read` gives; it is called again where the state was busy. StorageError when it can't be used."""
        if self._at_once is None:
            return await anyio.to_thread.run_sync(read, self._db, *args)
        if not self._waiting:
            try:
                return read(self._at_once, *args)
            except StateBusy:
                pass
        own = _Waiting(lambda db: read(db, *args))
        await self._wait(own, self._at_once)
        if own.error is not None:
            raise own.error
        result: T = own.result
        return result

    async def _wait(self, own: _Waiting, db: Engine) -> None:
        """Return when the read is done: by this task, which then looks for all that wait, or by another's."""
        self._waiting.append(own)
        try:
            while not own.done:
                if self._looking:
                    await own.woken.wait()
                    own.woken = anyio.Event()
                    continue
                self._looking = True
                try:
                    await self._look_for_all(own, db)
                finally:
                    self._looking = False
        finally:
            if not own.done:  # its caller has gone
                self._waiting.remove(own)
            if self._waiting and not self._looking:
                self._waiting[0].woken.set()

    async def _look_for_all(self, own: _Waiting, db: Engine) -> None:
        while not own.done:
            for _ in range(_MOST_AT_ONCE):
                if not self._waiting or not self._waiting[0].attempt(db):
                    break
                self._waiting.popleft()
            if not own.done:
                await anyio.sleep(_PAUSE)

    def close(self) -> None:
        """Let go of the state."""
        if self._at_once is not None:
            self._at_once.dispose()
