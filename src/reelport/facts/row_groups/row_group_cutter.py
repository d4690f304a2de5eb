"""Cuts Parquet files to the row groups that may hold the rows of some channels and days.

The cut file's footer names its own row groups alone: whoever reads it can't meet bytes that were not fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from reelport.facts.row_groups.compact_thrift import MalformedThrift
from reelport.facts.row_groups.footer import MAGIC, Bounds, Footer, RowGroup, measure_footer, parse_footer
from reelport.storage.excerpts import REQUEST_BYTES, Excerpt, Range

_INT32, _INT64, _BYTE_ARRAY = 1, 2, 6
_DATE, _TIMESTAMP_MICROS = 6, 10
_EPOCH = date(1970, 1, 1)
_MICROSECONDS = 86_400_000_000
_KEY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class RowGroupCutter:
    """Cuts files to the rows in which these channels have the role, on these days.

    `role` and `time` are the columns that say so.
    """

    role: str
    channels: frozenset[str]
    time: str | None
    start: date | None
    end: date | None

    def measure_end(self, end: bytes) -> int:
        """Return how many bytes the footer has."""
        return measure_footer(end)

    def cut(self, size: int, description: bytes) -> Excerpt | None:
        """Cut the row groups that may hold such rows; None for a file that can't be cut."""
        try:
            footer = parse_footer(description)
        except MalformedThrift:
            return None
        if not _lie_apart(footer, size - len(description)):
            return None
        wanted = sorted(channel.encode() for channel in self.channels)
        chosen = [group.range for group in footer.row_groups if self._may_hold(footer, group, wanted)]
        return _cut_ranges(footer, _merge(chosen))

    def _may_hold(self, footer: Footer, group: RowGroup, channels: Sequence[bytes]) -> bool:
        held, times = group.bounds.get(self.role), group.bounds.get(self.time or "")
        if held is None or held.type != _BYTE_ARRAY or any(held.low <= channel <= held.high for channel in channels):
            return self._touches(times, footer.converted.get(self.time or ""))
        return False

    def _touches(self, bounds: Bounds | None, converted: int | None) -> bool:
        """Whether a time between these bounds may lie on one of the days."""
        kinds = {(_INT64, _TIMESTAMP_MICROS): _MICROSECONDS, (_INT32, _DATE): 1}
        if bounds is None or (a_day := kinds.get((bounds.type, converted or 0))) is None:
            return True
        low, high = (int.from_bytes(value, "little", signed=True) // a_day for value in (bounds.low, bounds.high))
        starts = self.start is None or high >= (self.start - _EPOCH).days
        return starts and (self.end is None or low <= (self.end - _EPOCH).days)


def _lie_apart(footer: Footer, end: int) -> bool:
    """Whether row groups lie one after the other between the magic number and the footer."""
    position = len(MAGIC)
    for group in sorted(footer.row_groups, key=lambda group: group.range):
        if group.range.start < position or group.range.size <= 0:
            return False
        position = group.range.end
    return position <= end


def _merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Merge ranges between which there is less than a request is worth."""
    merged: list[Range] = []
    for found in sorted(ranges):
        if merged and found.start - merged[-1].end <= REQUEST_BYTES:
            merged[-1] = Range(merged[-1].start, found.end)
        else:
            merged.append(found)
    return tuple(merged)


def _cut_ranges(footer: Footer, ranges: tuple[Range, ...]) -> Excerpt:
    """Cut these ranges, with all row groups that lie in them."""
    moved: list[tuple[int, int]] = []
    position = len(MAGIC)
    for each in ranges:
        inside = (
            number
            for number, group in enumerate(footer.row_groups)
            if each.start <= group.range.start and group.range.end <= each.end
        )
        moved += [(number, position - each.start) for number in inside]
        position += each.size
    key = hashlib.sha256(" ".join(f"{number}" for number, _ in moved).encode()).hexdigest()[:_KEY_DIGITS]
    return Excerpt(key, MAGIC, ranges, footer.write(moved))
