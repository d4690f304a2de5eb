"""Names of month files, which say on which days of the month they have rows.

A month file holds many days, and its record in the log only the first and the last. A day without rows between them
may be one whose load failed, and this has to be known without opening the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

MONTH_FILE = "month-"
"""Prefix of the names of compacted files; the name of a day file begins with its day."""
_MARKED = re.compile(r"(?:.*/)?month-([0-9a-f]{8})-[0-9a-f]+\.parquet")


def name_month(days: Iterable[date]) -> str:
    """Name a month file by its days: one bit each, lowest for the first of the month."""
    return f"{MONTH_FILE}{sum(1 << (day - 1) for day in {one.day for one in days}):08x}"


def parse_days(path: str) -> frozenset[int] | None:
    """Parse the days of the month that a month file's name tells; None for any other name.

    Month files of earlier versions don't tell them.
    """
    found = _MARKED.fullmatch(path)
    if found is None:
        return None
    bits = int(found[1], 16)
    return frozenset(day for day in range(1, 32) if bits >> (day - 1) & 1)
