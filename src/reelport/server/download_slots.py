"""Limits downloads that run at the same time: of one report, of one partner, and altogether.

A partner without any download always gets one: what others do never keeps it from its file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from reelport.server.settings import Settings

_Name = TypeVar("_Name", str, int)


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


class DownloadSlots:
    """The downloads that one process sends. To be used on its event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._of_report: Counter[str] = Counter()
        self._of_partner: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._of_partner.total()

    @contextmanager
    def hold_report(self, report_id: str) -> Iterator[None]:
        """Count a download of a report within the block; raises Crowded."""
        if self._of_report[report_id] >= self._settings.report_downloads:
            raise Crowded(Limit.REPORT)
        with _counted(self._of_report, report_id):
            yield

    @contextmanager
    def hold_partner(self, organization_id: int) -> Iterator[None]:
        """Count a download of a partner within the block; raises Crowded."""
        running = self._of_partner[organization_id]
        if running >= self._settings.partner_downloads:
            raise Crowded(Limit.PARTNER)
        if running and len(self) >= self._settings.downloads:
            raise Crowded(Limit.SERVICE)
        with _counted(self._of_partner, organization_id):
            yield


@contextmanager
def _counted(counts: Counter[_Name], name: _Name) -> Iterator[None]:
    counts[name] += 1
    try:
        yield
    finally:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
