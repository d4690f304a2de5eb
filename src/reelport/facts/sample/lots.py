"""Spread sample rows over tables, kinds and days, in portions that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from reelport.facts.sample.scenes import KINDS, Lot
from reelport.facts.sample.videos import FIRST_DAY, SHELF

PORTION = 400_000
"""The most rows that are drawn, and held in memory, at a time."""

SHARES: Mapping[str, int] = {
    "plays": 700,
    "ads": 180,
    "earnings": 70,
    "bandwidth": 32,
    "transcoding": 4,
    "storage": 12,
    "ai": 2,
}
"""Each kind's share of all rows, in thousandths."""

RENDITIONS = 5
STORED = SHELF * RENDITIONS
"""The most rows of storage in one day: every rendition of every video on the shelf."""

_WEEK = (100, 98, 97, 99, 108, 120, 112)

RowCounts = Mapping[str, Mapping[date, int]]
"""Numbers of rows by kind and day."""


def spread_rows(rows: int, start: date, end: date, seed: int) -> RowCounts:
    """Spread exactly `rows` rows over kinds and days, with more on weekends.

    Storage grows from day to day, up to all that can be stored; plays get the rows that storage leaves over.
    """
    days = [start + timedelta(days=passed) for passed in range((end - start).days + 1)]
    totals = dict(zip(SHARES, _split_by_weight(rows, list(SHARES.values())), strict=True))
    growing = [1000 + (day - FIRST_DAY).days for day in days]
    stored = [min(STORED, share) for share in sorted(_split_by_weight(totals.pop("storage"), growing))]
    totals["plays"] = rows - sum(stored) - sum(total for kind, total in totals.items() if kind != "plays")
    busy = [_WEEK[day.weekday()] * 100 + _noise(day, seed) for day in days]
    spread = {kind: _split_by_weight(total, busy) for kind, total in totals.items()} | {"storage": stored}
    return {kind: dict(zip(days, numbers, strict=True)) for kind, numbers in spread.items()}


def split_into_portions(table: str, found: RowCounts) -> Iterator[Mapping[str, list[Lot]]]:
    """Yield a table's lots by kind, in order of days, in portions of `PORTION` rows."""
    kinds = [kind for kind, of_table in KINDS.items() if of_table == table]
    portion: dict[str, list[Lot]] = {}
    filled = 0
    for day in found[kinds[0]]:
        for kind in kinds:
            for lot in _split_day(day, found[kind][day]):
                if filled and filled + lot.rows > PORTION:
                    yield portion
                    portion, filled = {}, 0
                portion.setdefault(kind, []).append(lot)
                filled += lot.rows
    if filled:
        yield portion


def _split_day(day: date, rows: int) -> Iterator[Lot]:
    for first in range(0, rows, PORTION):
        yield Lot(day, first, min(PORTION, rows - first))


def _split_by_weight(total: int, weights: list[int]) -> list[int]:
    """Split the total by weight into whole numbers that add up to it."""
    ends = [total * reached // sum(weights) for reached in accumulate(weights)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _noise(day: date, seed: int) -> int:
    return Random(f"{seed}/{day}").randint(-800, 800)  # noqa: S311 - sample facts must repeat, not be secret
