"""Long polling: a status query waits until its report ends.

One task of a process serves all waiting queries: it hears of the ends of reports, and reads the state once a second
without hearing of any. Nobody is told of a finished report before it is on the disk.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError
from reelport.server.events import Kind, Subscription, subscribe
from reelport.server.limits.quotas import Quota
from reelport.server.queue import jobs
from reelport.server.state.database import sync_commits

MOST_POLLS = 100
"""Long polls of one process at the same time; one partner may have half of them."""
_REMEMBERED = 10_000
"""Reports that are remembered. The next look at another one costs a sync."""
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)
_LONGEST_PREFER = 200


def parse_wait(headers: Iterable[str], most: int) -> int:
    """Return the seconds of the first valid `wait`, at most `most`; 0 when there is none."""
    for header in headers:
        for preference in header.split(",") if len(header) <= _LONGEST_PREFER else ():
            if found := _WAIT.fullmatch(preference):
                return min(int(found[1] or found[2]), most)
    return 0


class DurableReports:
    """The finished reports (ids) that one process knows to be on the disk.

    Use it on the event loop only.

    The end of the machine could undo a report that isn't on the disk. A worker syncs the end of a report after its
    commit, when others may see it already: a process that reads it in between syncs it too before it answers.
    """

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._known: OrderedDict[str, None] = OrderedDict()

    def note(self, reports: Iterable[str]) -> None:
        """Remember reports whose end is on the disk, such as reports whose event was received."""
        for report in reports:
            self._known[report] = None
            self._known.move_to_end(report)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def ensure(self, finished: frozenset[str]) -> None:
        """Return once the ends of these reports are on the disk; StorageError when it fails."""
        if not finished <= self._known.keys():
            await anyio.to_thread.run_sync(sync_commits, self._db)
            self.note(finished)


_LOG = structlog.get_logger(__name__)
_BATCH = 200
"""Reports that are looked up at a time on the event loop: it takes about a millisecond."""


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

    _events: Subscription

    def __init__(self, db: Engine, durable: DurableReports, most: int = MOST_POLLS) -> None:
        self._db = db
        self._durable = durable
        self._most, self._share = most, -(-most // 2)
        self._waiters: set[_Waiter] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(self, partner: int, reports: frozenset[str], seconds: float) -> PollOutcome:
        """Wait until one of these unfinished reports ends, or the time. Beyond limits: not at all."""
        if self._stopping or self._is_full(partner):
            return PollOutcome.STOPPING if self._stopping else PollOutcome.FULL
        waiter = _Waiter(partner, reports)
        self._waiters.add(waiter)
        try:
            with anyio.move_on_after(seconds):
                # The report may have ended since the query read it.
                await self._check_reports(reports)
                await waiter.released.wait()
        finally:
            self._waiters.discard(waiter)
        return waiter.outcome

    def measure(self, policy: str, partner: int) -> Quota:
        """Measure how many more queries of a partner may wait; others are answered at once."""
        return Quota(policy, self._share, max(self._share - self._count(partner), 0))

    def _count(self, partner: int) -> int:
        return sum(waiter.partner == partner for waiter in self._waiters)

    def _is_full(self, partner: int) -> bool:
        """Whether a partner may not wait now; its first query always may."""
        own = self._count(partner)
        return own >= self._share or (own > 0 and len(self._waiters) >= self._most)

    def stop(self) -> None:
        """End every long poll and refuse new ones: the service is about to stop."""
        self._stopping = True
        for waiter in self._waiters:
            waiter.release(PollOutcome.STOPPING)

    @contextlib.asynccontextmanager
    async def watch_reports(self) -> AsyncIterator[None]:
        """Watch the reports of all waiting queries within the block."""
        with subscribe(self._db, Kind.REPORT_ENDED) as self._events:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow_events)
                yield
                tasks.cancel_scope.cancel()

    async def _follow_events(self) -> None:
        while True:
            if events := await self._events.wait_on_event_loop():
                # The query that runs again reads the state: nobody has to read it before.
                ended = frozenset(event.subject for event in events)
                self._durable.note(ended)
                self._release(ended)
            else:
                await self._check_reports(frozenset().union(*(waiter.reports for waiter in self._waiters)))

    async def _check_reports(self, seen: frozenset[str]) -> None:
        reports = tuple(seen)
        for start in range(0, len(reports), _BATCH):
            some = frozenset(reports[start : start + _BATCH])
            try:
                unfinished = await anyio.to_thread.run_sync(jobs.find_unfinished, self._db, some)
            except StorageError as error:
                # Waiting queries meet the same error when they run again at the end of their time.
                _LOG.warning("long polls can't read the state", reason=str(error))
                return
            except Exception:  # noqa: BLE001 - whatever it was, nothing beside it ends
                _LOG.exception("long polls can't read the state")
                return
            self._release(some - unfinished)
            await anyio.lowlevel.checkpoint()  # other requests come between two of them

    def _release(self, ended: frozenset[str]) -> None:
        for waiter in self._waiters:
            if not waiter.reports.isdisjoint(ended):
                waiter.release(PollOutcome.CHANGED)
