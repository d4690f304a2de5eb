"""Stores when keys were last used, in the background: no request waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import anyio
import anyio.to_thread
import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError
from reelport.server.access.callers import SQL
from reelport.server.state.database import writing
from reelport.server.state.tables import to_milliseconds

INTERVAL = timedelta(minutes=15)
"""The last use of a key is stored at most so often, by all processes together."""
_MANY = 10_000
"""Keys at which those are forgotten whose last use was stored long ago."""
_LOG = structlog.get_logger(__name__)


class KeyUses:
    """The uses of keys that this process has noted. Use on its event loop only."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._noted: dict[str, datetime] = {}
        self._pending: dict[str, datetime] = {}
        self._wakeup: anyio.Event | None = None

    def note(self, key_id: str, now: datetime) -> None:
        """Note that a key is used now, to be stored soon unless that was done lately."""
        noted = self._noted.get(key_id)
        if noted is not None and abs(now - noted) < INTERVAL:
            return
        if len(self._noted) >= _MANY:
            self._noted = {key: at for key, at in self._noted.items() if abs(now - at) < INTERVAL}
        self._noted[key_id] = self._pending[key_id] = now
        if self._wakeup is not None:
            self._wakeup.set()

    async def store_noted(self) -> None:
        """Store each use soon after it is noted, until cancelled."""
        while True:
            self._wakeup = anyio.Event()
            if not self._pending:
                await self._wakeup.wait()
            uses, self._pending = self._pending, {}
            try:
                await anyio.to_thread.run_sync(store_uses, self._db, uses)
            except StorageError as error:  # the next use is noted again after INTERVAL
                _LOG.warning("the last use of keys can't be stored", reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, nothing beside it ends
                _LOG.exception("the last use of keys can't be stored")


def store_uses(db: Engine, uses: Mapping[str, datetime]) -> int:
    """Store when keys were used, unless done within INTERVAL; return for how many it was."""
    stored = 0
    with writing(db) as connection:
        # In order of the ids: two processes that lock several keys then don't deadlock.
        for key_id, at in sorted(uses.items()):
            values = {"key_id": key_id, "used_at": to_milliseconds(at), "stale": to_milliseconds(at - INTERVAL)}
            stored += SQL.run(connection, "note_use", values).rowcount
    return stored
