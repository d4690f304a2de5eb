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
_PERIOD = 120.0
"""Seconds over which a reader's rate is averaged at least; at most twice as many."""


class Crowded(Exception):
    """No further download may begin now. `limit` says which limit it met."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.value)
        self.limit = limit


class Limit(StrEnum):
    """What there are as many downloads of as may be."""

    REPORT = "this report"
    PARTNER = "this partner"
    SERVICE = "this service"


class Running:
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
        self._mark()

    @property
    def link_is_over(self) -> bool:
        """Whether the link that it began with opens nothing any more."""
        return self._clock() >= self._link_ends

    @property
    def rate(self) -> float:
        """Bytes a second of late."""
        self._mark()
        since, sent = self._earlier
        return (self._sent - sent) / max(self._clock() - since, 1.0)

    @property
    def is_settled(self) -> bool:
        """Whether it has run for long enough to be judged by its rate."""
        return self._clock() - self._earlier[0] >= _PERIOD

    def end(self) -> None:
        """Send no more of it."""
        self.ended = True
        if self._stop is not None:
            self._stop()

    def stop_by(self, stop: Callable[[], object]) -> None:
        """Be ended by this from now on; at once, if it has to end already."""
        self._stop = stop
        if self.ended:
            stop()

    def _mark(self) -> None:
        now = self._clock()
        if now - self._later[0] >= _PERIOD:
            self._earlier, self._later = self._later, (now, self._sent)


class DownloadSlots:
    """The downloads that one process sends. To be used on its event loop only."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._of_report: defaultdict[str, set[Running]] = defaultdict(set)
        self._of_partner: defaultdict[int, set[Running]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._of_partner.values()))

    @contextmanager
    def hold_report(self, report_id: str, link_seconds: float) -> Iterator[Running]:
        """Count a download of a report, by a link that is good for so long, within the block; raises Crowded."""
        if len(self._of_report.get(report_id, ())) >= self._settings.report_downloads:
            self._make_room(self._of_report[report_id], Limit.REPORT)
        running = Running(report_id, link_seconds, self._clock)
        self._of_report[report_id].add(running)
        try:
            yield running
        finally:
            self._drop(running)

    @contextmanager
    def hold_partner(self, running: Running, organization_id: int) -> Iterator[None]:
        """Count it as its partner's as well within the block; raises Crowded."""
        partners = self._of_partner.get(organization_id, set())
        if len(partners) >= self._settings.partner_downloads:
            self._make_room(partners, Limit.PARTNER)
        elif partners and len(self) >= self._settings.downloads:
            raise Crowded(Limit.SERVICE)
        running.organization_id = organization_id
        self._of_partner[organization_id].add(running)
        try:
            yield
        finally:
            self._drop(running)

    def _make_room(self, among: set[Running], limit: Limit) -> None:
        over = [each for each in among if each.link_is_over]
        least = self._settings.download_rate
        slow = [each for each in among if each.is_settled and each.rate < least]
        if not (candidates := over or slow):
            raise Crowded(limit)
        slowest = min(candidates, key=lambda each: each.rate)
        slowest.end()
        self._drop(slowest)

    def _drop(self, running: Running) -> None:
        """Count it no more."""
        _forget(self._of_report, running.report_id, running)
        if running.organization_id is not None:
            _forget(self._of_partner, running.organization_id, running)


def _forget(running: dict[_Name, set[Running]], name: _Name, one: Running) -> None:
    running.get(name, set()).discard(one)
    if not running.get(name):
        running.pop(name, None)
