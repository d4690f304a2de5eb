"""Limits concurrent downloads: of one report, and of one partner.

Where a report or a partner is at its limit, a new download takes the slot of the slowest one whose signed URL has
expired, or else of the slowest one below the minimum rate. A slow download continues as long as nobody needs its slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from reelport.server.limits.quotas import Quota

REPORT_DOWNLOADS, PARTNER_DOWNLOADS = 20, 64
"""Downloads of one report, and of one partner, at the same time: three reports by twenty connections each."""
LEAST_RATE = 10_000
"""Bytes a second below which a download may lose its place to a new one: no line of today is so thin."""
_RATE_SECONDS = 120.0
"""Shortest period, in seconds, over which a download's rate is averaged; the longest is twice that."""


class NoFreeSlot(Exception):
    """No download may begin now; `limit` says which limit is reached."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.value)
        self.limit = limit


class Limit(StrEnum):
    """Whose downloads a limit counts; the value stands in the refusal."""

    REPORT = "this report"
    PARTNER = "this partner"


class RunningDownload:
    """A running download: when its signed URL expires, its recent rate, and a way to stop it."""

    def __init__(self, report_id: str, link_seconds: float, clock: Callable[[], float]) -> None:
        self.report_id = report_id
        self.organization_id: int | None = None
        """The partner, once it is known."""
        self.ended = False
        """Whether a new download took its slot."""
        self._stop: Callable[[], object] | None = None
        self._clock = clock
        self._sent = 0
        now = clock()
        self._link_ends = now + link_seconds
        self._earlier = self._later = (now, 0)
        """Two samples: a time, and the bytes sent by then."""

    def count(self, count: int) -> None:
        """Count bytes that the client has taken."""
        self._sent += count
        self._record_progress()

    @property
    def is_link_expired(self) -> bool:
        """Whether the signed URL that it began with has expired."""
        return self._clock() >= self._link_ends

    @property
    def rate(self) -> float:
        """Recent rate in bytes a second."""
        self._record_progress()
        since, sent = self._earlier
        return (self._sent - sent) / max(self._clock() - since, 1.0)

    @property
    def is_ratable(self) -> bool:
        """Whether it has run long enough for its rate to count."""
        return self._clock() - self._earlier[0] >= _RATE_SECONDS

    def end(self) -> None:
        """Stop the download."""
        self.ended = True
        if self._stop is not None:
            self._stop()

    def set_stop(self, stop: Callable[[], object]) -> None:
        """Set the function that stops the download; call it now if the slot is gone."""
        self._stop = stop
        if self.ended:
            stop()

    def _record_progress(self) -> None:
        now = self._clock()
        if now - self._later[0] >= _RATE_SECONDS:
            self._earlier, self._later = self._later, (now, self._sent)


class DownloadSlots:
    """Accounts for the downloads of one process. Use on its event loop only."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        report_downloads: int = REPORT_DOWNLOADS,
        partner_downloads: int = PARTNER_DOWNLOADS,
    ) -> None:
        self._report_downloads, self._partner_downloads = report_downloads, partner_downloads
        self._clock = clock
        self._running: set[RunningDownload] = set()

    def __len__(self) -> int:
        return sum(each.organization_id is not None for each in self._running)

    def measure(self, policy: str, organization_id: int) -> Quota:
        """Measure how many more downloads a partner may begin."""
        running = len(self._list_of_partner(organization_id))
        return Quota(policy, self._partner_downloads, max(self._partner_downloads - running, 0))

    @contextmanager
    def hold(self, report_id: str, link_seconds: float) -> Iterator[RunningDownload]:
        """Hold one of a report's slots for a link that is valid so long; NoFreeSlot without one."""
        of_report = [each for each in self._running if each.report_id == report_id]
        self._make_room(of_report, self._report_downloads, Limit.REPORT)
        running = RunningDownload(report_id, link_seconds, self._clock)
        self._running.add(running)
        try:
            yield running
        finally:
            self._running.discard(running)

    def count_for_partner(self, running: RunningDownload, organization_id: int) -> None:
        """Let a download take one of its partner's slots too; NoFreeSlot when all are taken."""
        self._make_room(self._list_of_partner(organization_id), self._partner_downloads, Limit.PARTNER)
        running.organization_id = organization_id

    def _list_of_partner(self, organization_id: int) -> list[RunningDownload]:
        return [each for each in self._running if each.organization_id == organization_id]

    def _make_room(self, among: Sequence[RunningDownload], most: int, limit: Limit) -> None:
        if len(among) < most:
            return
        expired = [each for each in among if each.is_link_expired]
        slow = [each for each in among if each.is_ratable and each.rate < LEAST_RATE]
        if not (candidates := expired or slow):
            raise NoFreeSlot(limit)
        slowest = min(candidates, key=lambda each: each.rate)
        slowest.end()
        self._running.discard(slowest)
