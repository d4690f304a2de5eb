"""Limits downloads that run at the same time: of one report, of one partner, and altogether.

A partner without any download always gets one: what others do never keeps it from its file. Where a report or a
partner has as many as may be, a new one takes the place of a slow one that began with a link that is over by now, or
else of one whose reader has long taken too little. A slow reader goes on as long as nobody needs its place.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from reelport.server.settings import Settings

_Name = TypeVar("_Name", str, int)
_RATE_SECONDS = 120.0
"""Seconds over which a reader's rate is averaged at least; at most twice as many."""


class NoFreeSlot(Exception):
    """No further download may begin now. `limit` says which limit it met."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.value)
        self.limit = limit


class Limit(StrEnum):
    """What there are as many downloads of as may be."""

    REPORT = "this report"
    PARTNER = "this partner"
    SERVICE = "this service"


class RunningDownload:
    """One download: how long its link is good, how much of it was taken lately, and a way to end it."""

    def __init__(self, report_id: str, link_seconds: float, clock: Callable[[], float]) -> None:
        self.report_id = report_id
        self.organization_id: int | None = None
        """Whose it is, once that is known."""
        self.ended = False
        """Whether it had to give its place away."""
        self._stop: Callable[[], object] | None = None
        self._clock = clock
        self._sent = 0
        now = clock()
        self._link_ends = now + link_seconds
        self._earlier = self._later = (now, 0)
        """Two moments, and how much had been sent by then."""

    def count(self, count: int) -> None:
        """Count bytes that a reader has taken."""
        self._sent += count
        self._record_progress()

    @property
    def is_link_expired(self) -> bool:
        """Whether the link that it began with opens nothing any more."""
        return self._clock() >= self._link_ends

    @property
    def rate(self) -> float:
        """Bytes a second of late."""
        self._record_progress()
        since, sent = self._earlier
        return (self._sent - sent) / max(self._clock() - since, 1.0)

    @property
    def is_ratable(self) -> bool:
        """Whether it has run for long enough to be judged by its rate."""
        return self._clock() - self._earlier[0] >= _RATE_SECONDS

    def end(self) -> None:
        """Send no more of it."""
        self.ended = True
        if self._stop is not None:
            self._stop()

    def set_stop(self, stop: Callable[[], object]) -> None:
        """Be ended by this from now on; at once, if it has to end already."""
        self._stop = stop
        if self.ended:
            stop()

    def _record_progress(self) -> None:
        now = self._clock()
        if now - self._later[0] >= _RATE_SECONDS:
            self._earlier, self._later = self._later, (now, self._sent)


class DownloadSlots:
    """The downloads that one process sends. To be used on its event loop only."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._of_report: defaultdict[str, set[RunningDownload]] = defaultdict(set)
        self._of_partner: defaultdict[int, set[RunningDownload]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._of_partner.values()))

    @contextmanager
    def hold_report(self, report_id: str, link_seconds: float) -> Iterator[RunningDownload]:
        """Count a download of a report, by a link that is good for so long, within the block; raises Crowded."""
        if len(self._of_report.get(report_id, ())) >= self._settings.report_downloads:
            self._make_room(self._of_report[report_id], Limit.REPORT)
        running = RunningDownload(report_id, link_seconds, self._clock)
        self._of_report[report_id].add(running)
        try:
            yield running
        finally:
            self._drop(running)

    @contextmanager
    def hold_partner(self, running: RunningDownload, organization_id: int) -> Iterator[None]:
        """Count it as its partner's as well within the block; raises Crowded."""
        partners = self._of_partner.get(organization_id, set())
        if len(partners) >= self._settings.partner_downloads:
            self._make_room(partners, Limit.PARTNER)
        elif partners and len(self) >= self._settings.downloads:
            raise NoFreeSlot(Limit.SERVICE)
        running.organization_id = organization_id
        self._of_partner[organization_id].add(running)
        try:
            yield
        finally:
            self._drop(running)

    def _make_room(self, among: set[RunningDownload], limit: Limit) -> None:
        over = [each for each in among if each.is_link_expired]
        least = self._settings.download_rate
        slow = [each for each in among if each.is_ratable and each.rate < least]
        if not (candidates := over or slow):
            raise NoFreeSlot(limit)
        slowest = min(candidates, key=lambda each: each.rate)
        slowest.end()
        self._drop(slowest)

    def _drop(self, running: RunningDownload) -> None:
        """Count it no more."""
        _discard(self._of_report, running.report_id, running)
        if running.organization_id is not None:
            _discard(self._of_partner, running.organization_id, running)


def _discard(running: dict[_Name, set[RunningDownload]], name: _Name, one: RunningDownload) -> None:
    running.get(name, set()).discard(one)
    if not running.get(name):
        running.pop(name, None)
