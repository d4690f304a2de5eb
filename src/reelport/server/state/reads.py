"""Reads the state for requests, in threads: the event loop waits for no disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio.to_thread
from sqlalchemy import Engine

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Reads:
    """Reads the state for one process. Use it on the event loop only."""

    def __init__(self, db: Engine) -> None:
        self._db = db

    async def run(self, read: Callable[[Engine, *Ts], T], *args: *Ts) -> T:
        """Call `read` with the state's engine. StorageError when the state fails."""
        return await anyio.to_thread.run_sync(read, self._db, *args)
