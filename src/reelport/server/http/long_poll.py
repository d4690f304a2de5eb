"""Long polling: a status query waits until its report ends.

One poller of the database serves all waiting queries. A worker on this machine sends a wake-up when a report has ended.
What workers elsewhere finish is found by polling: first after 10 ms, then at growing intervals of at most 250 ms.
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

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
_GROWTH = 1.1
_LOG = structlog.get_logger(__name__)


class PollOutcome(StrEnum):
    """Why a long poll ended, or didn't begin. The values are labels of a metric."""

    CHANGED = "changed"
    OVER = "over"
    LEFT = "left"
    FULL = "full"
    STOPPING = "stopping"

    @property
    def needs_new_answer(self) -> bool:
        """Whether to run the query again: a report has ended, or the wait is over."""
        return self in {PollOutcome.CHANGED, PollOutcome.OVER}


@dataclass(eq=False, slots=True)
class _Waiter:
    partner: int
    reports: frozenset[str]
    released: anyio.Event = field(default_factory=anyio.Event)
    outcome: PollOutcome = PollOutcome.OVER

    def release(self, outcome: PollOutcome) -> None:
        self.outcome = outcome
        self.released.set()


class LongPolls:
    """The long polls of one process. Use only on its event loop, within `watch_reports`."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._waiters: set[_Waiter] = set()
        self._poll_now = anyio.Event()
        self._pause = _FIRST_PAUSE
        self._stopping = False

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(self, partner: int, reports: frozenset[str], seconds: float) -> PollOutcome:
        """Wait until one of these unfinished reports ends or the time is over; return at once beyond the limits."""
        if self._stopping or self._is_full(partner):
            return PollOutcome.STOPPING if self._stopping else PollOutcome.FULL
        waiter = _Waiter(partner, reports)
        self._waiters.add(waiter)
        self._pause = _FIRST_PAUSE
        # Check at once: the report may have ended since the query read it.
        self._poll_now.set()
        try:
            with anyio.move_on_after(seconds):
                await waiter.released.wait()
        finally:
            self._waiters.discard(waiter)
        return waiter.outcome

    def _is_full(self, partner: int) -> bool:
        """Whether a partner may not wait now.

        Its first long poll is allowed whatever other partners do, unless long polling is off.
        """
        limit = self._settings.held_looks
        own = sum(waiter.partner == partner for waiter in self._waiters)
        return not limit or own >= self._settings.partner_held_looks or (own > 0 and len(self._waiters) >= limit)

    def stop(self) -> None:
        """End every long poll and refuse new ones: the service is about to stop."""
        self._stopping = True
        for waiter in self._waiters:
            waiter.release(PollOutcome.STOPPING)

    @contextlib.asynccontextmanager
    async def watch_reports(self) -> AsyncIterator[None]:
        """Poll the reports of all waiting queries within the block."""
        with wakeups.open_wakeup(self._settings, f"looks-{short_id()}", Occasion.ENDED) as wakeup:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen_for_wakeups, wakeup)
                tasks.start_soon(self._poll_reports)
                yield
                tasks.cancel_scope.cancel()

    async def _listen_for_wakeups(self, wakeup: Wakeup) -> None:
        while True:
            await anyio.wait_readable(wakeup.fileno())
            wakeup.clear()
            self._poll_now.set()

    async def _poll_reports(self) -> None:
        while True:
            # Without a waiting query there is nothing to poll, whatever wake-ups come.
            with anyio.move_on_after(self._pause if self._waiters else None):
                await self._poll_now.wait()
            self._poll_now = anyio.Event()
            self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE)
            if self._waiters:
                await self._check_reports()

    async def _check_reports(self) -> None:
        seen = frozenset[str]().union(*(waiter.reports for waiter in self._waiters))
        try:
            unfinished = await anyio.to_thread.run_sync(jobs.find_unfinished, self._db, seen)
        except StorageError as error:
            # Waiting queries meet the same error when they run again at the end of their time.
            _LOG.warning("long polls can't read the state", reason=str(error))
            return
        for waiter in self._waiters:
            if waiter.reports & seen - unfinished:
                waiter.release(PollOutcome.CHANGED)
