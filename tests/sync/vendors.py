"""A vendor whose numbers are known by day, and may be restated or emptied."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, date, datetime, timedelta
from types import ModuleType

from reelport.sync.spec import Days
from reelport.testing import Vendor
from reelport.testing.vendor import Wire

TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
START = TODAY - timedelta(days=20)


def follow_midnight(user: ModuleType) -> None:
    """Name the days anew, here and in a module that imported them, when midnight (UTC) has come since then."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    for module in (sys.modules[__name__], user):
        if getattr(module, "YESTERDAY", yesterday) != yesterday:
            importlib.reload(module)  # in place: the tests that were collected see the new names


class Numbers:
    """What a vendor knows: a number for each day; days may be changed or emptied, and a column added."""

    def __init__(self) -> None:
        self.changed: dict[date, int] = {}
        self.empty: set[date] = set()
        self.columns = "day,views"
        self.more = ""

    def views(self, day: date) -> int:
        """The views of a day."""
        return self.changed.get(day, day.toordinal())

    def csv(self, wire: Wire) -> bytes:
        """The report of an ask."""
        first, last = date.fromisoformat(wire["startDate"]), date.fromisoformat(wire["endDate"])
        days = [day for day in Days.between(first, last) if day not in self.empty]
        return "\n".join([self.columns, *(f"{day},{self.views(day)}{self.more}" for day in days), ""]).encode()


def asked(vendor: Vendor) -> list[str]:
    """The windows of all asks so far, in days before today."""
    return [f"{_ago(wire['startDate'])}-{_ago(wire['endDate'])}" for wire in vendor.asks]


def _ago(day: str) -> int:
    return (TODAY - date.fromisoformat(day)).days


def expected(numbers: Numbers, start: date = START) -> list[tuple[object, ...]]:
    return [(day, numbers.views(day)) for day in Days.between(start, YESTERDAY) if day not in numbers.empty]
