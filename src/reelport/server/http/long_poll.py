"""Looks that are held back until a report that they saw ends: one watch of the state for all of them.

A worker of this machine rings when a report has ended. Whatever rings no bell here is seen by looking: after
10 ms, then ever more seldom, up to four times a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum

import anyio
import anyio.to_thread
import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError
from reelport.server.credentials import short_id
from reelport.server.queue import jobs, wakeups
from reelport.server.queue.wakeups import Occasion, Wakeup
from reelport.server.settings import Settings

_LEAST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
_GROWTH = 1.1
_LOG = structlog.get_logger(__name__)


class End(StrEnum):
    """Why a look is held no longer, or wasn't."""

    CHANGED = "changed"
    OVER = "over"
    LEFT = "left"
    FULL = "full"
    STOPPING = "stopping"

    @property
    def waited(self) -> bool:
        """Whether there is something new to say, or the caller has waited as long as it was willing to."""
        return self in {End.CHANGED, End.OVER}


@dataclass(eq=False, slots=True)
class _Look:
    partner: int
    reports: frozenset[str]
    let_go: anyio.Event = field(default_factory=anyio.Event)
    end: End = End.OVER

    def release(self, end: End) -> None:
        self.end = end
        self.let_go.set()


class LongPolls:
    """The looks that one process holds. To be used on its event loop only, while `watched` runs."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._looks: set[_Look] = set()
        self._stirred = anyio.Event()
        self._pause = _LEAST_PAUSE
        self._stopping = False

    def __len__(self) -> int:
        return len(self._looks)

    async def wait(self, partner: int, reports: frozenset[str], seconds: float) -> End:
        """Return when one of these unfinished reports has ended or the time is over; at once when none more is held."""
        if self._stopping or self._is_full(partner):
            return End.STOPPING if self._stopping else End.FULL
        look = _Look(partner, reports)
        self._looks.add(look)
        self._pause = _LEAST_PAUSE
        # A look at once: the report may have ended since it was seen.
        self._stirred.set()
        try:
            with anyio.move_on_after(seconds):
                await look.let_go.wait()
        finally:
            self._looks.discard(look)
        return look.end

    def _is_full(self, partner: int) -> bool:
        """Whether no look of a partner is held now: one without any has one, whatever the others do."""
        most = self._settings.held_looks
        own = sum(look.partner == partner for look in self._looks)
        return not most or own >= self._settings.partner_held_looks or (own > 0 and len(self._looks) >= most)

    def stop(self) -> None:
        """Let every look go, and hold none any more: the service is about to end."""
        self._stopping = True
        for look in self._looks:
            look.release(End.STOPPING)

    @contextlib.asynccontextmanager
    async def watch_reports(self) -> AsyncIterator[None]:
        """Look after the reports of held looks within the block."""
        with wakeups.open_wakeup(self._settings, f"looks-{short_id()}", Occasion.ENDED) as wakeup:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, wakeup)
                tasks.start_soon(self._watch)
                yield
                tasks.cancel_scope.cancel()

    async def _listen(self, wakeup: Wakeup) -> None:
        while True:
            await anyio.wait_readable(wakeup.fileno())
            wakeup.clear()
            self._stirred.set()

    async def _watch(self) -> None:
        while True:
            # With nothing held there is nothing to look for, whatever rings.
            with anyio.move_on_after(self._pause if self._looks else None):
                await self._stirred.wait()
            self._stirred = anyio.Event()
            self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE)
            if self._looks:
                await self._look()

    async def _look(self) -> None:
        seen = frozenset[str]().union(*(look.reports for look in self._looks))
        try:
            unfinished = await anyio.to_thread.run_sync(jobs.find_unfinished, self._db, seen)
        except StorageError as error:
            # Whoever is held hears of it at the end of its time, from the look that is made then.
            _LOG.warning("no look for held ones", reason=str(error))
            return
        for look in self._looks:
            if look.reports & seen - unfinished:
                look.release(End.CHANGED)
