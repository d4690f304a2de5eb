"""Rows of a report summed by time and category, and by coarser times, as they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from reelport.additivity import Added, Rate
from reelport.catalog import Grain, round_ratio
from reelport.charts.time_axis import LABEL_LENGTHS, MOST_FILLED, YEAR, fill_times
from reelport.errors import UsageError

Key = tuple[str, ...]
"""What rows have in common: a time or a category, or a time and a category."""

Number = int | Decimal

Formula = Added | Rate | None
"""How to compute the metric for several rows, from the report's columns by index; None where rows don't add up."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one label: their count, the last one's number, the sums of formula columns."""

    rows: int
    own: Decimal | None
    sums: tuple[Decimal, ...]

    def __add__(self, other: Group) -> Group:
        sums = tuple(one + another for one, another in zip(self.sums, other.sums, strict=True))
        return Group(self.rows + other.rows, other.own, sums)

    def value(self, formula: Formula) -> Decimal | None:
        """Return the metric's value over all rows; for a single row its own number."""
        if self.rows == 1 or formula is None:
            return self.own
        if isinstance(formula, Added):
            return self.sums[0]
        whole = round_ratio(self.sums[0], sum(self.sums[1:], Decimal()), formula.scale, formula.digits)
        return None if whole is None else Decimal(whole).scaleb(-formula.digits)


@dataclass(frozen=True, slots=True)
class Groups:
    """A report's rows by key, in its order, and the formula by which they add up.

    `many` is how many categories the report has, where these are only its largest.
    """

    by_key: Mapping[Key, Group]
    formula: Formula
    many: int | None = None

    @classmethod
    def of_sums(cls, rows: Iterable[Sequence[Any]], width: int, formula: Formula, many: int | None = None) -> Groups:
        """Make groups of rows that were summed by an engine.

        Each has the cells of its key, `width` of them, then a count of rows, the number of one of them, and the sums.
        """
        found = {
            tuple([str(cell or "") for cell in row[:width]]): _group(row[width], row[width + 1], *row[width + 2 :])
            for row in rows
        }
        return cls(found, formula, many)

    def list_values(self) -> list[tuple[Key, Decimal | None]]:
        """Return the metric's value for each key; None where a rate has nothing to divide by."""
        return [(key, group.value(self.formula)) for key, group in self.by_key.items()]

    def merge_keys(self, change: Callable[[Key], Key]) -> Groups:
        """Merge groups whose keys become the same by a change."""
        merged: dict[Key, Group] = {}
        for key, group in self.by_key.items():
            other = change(key)
            merged[other] = merged[other] + group if other in merged else group
        return Groups(merged, self.formula, self.many)


def read_groups(
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    keys: Sequence[str],
    metrics: Sequence[str],
    formula: Formula,
) -> Groups:
    """Sum rows by key columns, for the first of the metrics. Names are columns of the CSV.

    Raises UsageError for a missing column, a cell that is no number, and several rows of a key that don't add up.
    """
    needed = [metrics[0], *(metrics[place] for place in list_places(formula))]
    key_places = [_find_column(names, name) for name in keys]
    places = [_find_column(names, name) for name in needed]
    found: dict[Key, list[Number | None]] = {}
    counts: Counter[Key] = Counter()
    for row in rows:
        key = tuple([str(row[place] or "") for place in key_places])
        counts[key] += 1
        own, *parts = [_read_number(row[place]) for place in places]
        sums = found.setdefault(key, [0] * len(places))
        sums[0] = own
        for place, part in enumerate(parts, start=1):
            sums[place] = (sums[place] or 0) + (part or 0)
    if formula is None and found and (several := counts.most_common(1)[0])[1] > 1:
        label = ", ".join(several[0])[:80]
        raise UsageError(f"there are several rows of {label!r}, and {metrics[0]} doesn't add up.")
    return Groups({key: _group(counts[key], *sums) for key, sums in found.items()}, formula)


def roll_up(groups: Groups, grain: Grain, most: int, *, filled: bool) -> tuple[int, Groups]:
    """Roll times, the first of each key, up to the finest grain with at most `most` of them.

    Returns it and the groups. `filled` counts times without rows too. Where the formula doesn't allow it, or no grain
    fits, groups are unchanged.
    """
    if groups.formula is None or _count_times(groups, grain, filled=filled) <= most:
        return grain, groups
    for coarser in range(grain + 1, YEAR + 1):
        length, end = LABEL_LENGTHS[coarser], ":00:00Z" if coarser == Grain.HOUR else ""
        rolled = groups.merge_keys(partial(_cut_time, length, end))
        if 1 < _count_times(rolled, coarser, filled=filled) <= most:
            return coarser, rolled
    return grain, groups


def list_times(groups: Groups, grain: int, *, filled: bool) -> list[str]:
    """List the times of groups in order; where `filled`, also those without rows between them."""
    known = sorted({key[0] for key in groups.by_key})
    times = fill_times(known, grain) if filled else []
    return times if set(known) <= set(times) and len(times) <= MOST_FILLED else known


def _cut_time(length: int, end: str, key: Key) -> Key:
    return (key[0][:length] + end, *key[1:])


def list_places(formula: Formula) -> tuple[int, ...]:
    """List the report's metrics, by number, whose sums a formula needs."""
    match formula:
        case None:
            return ()
        case Added(column):
            return (column,)
        case Rate(numerator, denominator):
            return (numerator, *denominator)


def _find_column(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise UsageError(f"the report has no column {name}, but {', '.join(names)[:300]}.")
    return names.index(name)


def _read_number(cell: object) -> Number | None:
    if isinstance(cell, int | Decimal):
        return cell
    try:
        return Decimal(str(cell)) if cell else None
    except InvalidOperation as error:
        raise UsageError(f"{str(cell)[:80]!r} is no number to draw.") from error


def _group(rows: int, own: Number | None, *sums: Number | None) -> Group:
    return Group(rows, None if own is None else Decimal(own), tuple(Decimal(each or 0) for each in sums))


def _count_times(groups: Groups, grain: int, *, filled: bool) -> int:
    known = {key[0] for key in groups.by_key}
    return max(len(known), len(fill_times(known, grain)) if filled else 0)
