"""Bars of a chart: sums rows by label and by coarser times, as the catalog's rules allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from reelport.additivity import Added, Rate
from reelport.catalog import Grain
from reelport.charts.time_axis import LABEL_LENGTHS, MOST_FILLED, YEAR, fill_times
from reelport.client.results.tables import Table
from reelport.errors import UsageError

Bar = tuple[str, Decimal | None]
"""A label and its number; None where a rate has nothing to divide by."""

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
        below = sum(self.sums[1:], Decimal())
        if not below:
            return None
        return (self.sums[0] * formula.scale / below).quantize(Decimal(1).scaleb(-formula.digits), ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Groups:
    """A report's rows by label, in its order, and the formula by which they add up."""

    by_label: Mapping[str, Group]
    formula: Formula

    def bars(self) -> list[Bar]:
        """Return one bar for each label."""
        return [(label, group.value(self.formula)) for label, group in self.by_label.items()]

    def cut_labels(self, length: int, end: str = "") -> Groups:
        """Merge groups whose labels have the same first `length` characters."""
        merged: dict[str, Group] = {}
        for label, group in self.by_label.items():
            short = label[:length] + end
            merged[short] = merged[short] + group if short in merged else group
        return Groups(merged, self.formula)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a chart shows: heading, notes, bars, and the unit where the heading doesn't name it.

    `grain` is the time grain of the bars, None for names.
    """

    heading: str
    notes: tuple[str, ...]
    bars: tuple[Bar, ...]
    unit: str | None
    grain: int | None


def read_groups(table: Table, dimension: str, metrics: tuple[str, ...], formula: Formula) -> Groups:
    """Sum rows by a dimension, for the first of the metrics. Names are columns of the CSV.

    Raises UsageError for a missing column, a cell that is no number, and several rows of a label that don't add up.
    """
    needed = [metrics[0], *(metrics[place] for place in _places(formula))]
    label_at, *places = (_find_column(table, name) for name in (dimension, *needed))
    found: dict[str, list[Number | None]] = {}
    counts: Counter[str] = Counter()
    for row in table.tuples():
        label = str(row[label_at] or "")
        counts[label] += 1
        own, *parts = [_read_number(row[place]) for place in places]
        sums = found.setdefault(label, [0] * len(places))
        sums[0] = own
        for place, part in enumerate(parts, start=1):
            sums[place] = (sums[place] or 0) + (part or 0)
    if formula is None and found and (several := counts.most_common(1)[0])[1] > 1:
        raise UsageError(f"--chart: there are several rows of {several[0][:80]!r}, and {metrics[0]} doesn't add up.")
    return Groups({label: _group(counts[label], *sums) for label, sums in found.items()}, formula)


def roll_up(groups: Groups, grain: Grain, most: int, *, filled: bool) -> tuple[int, Groups]:
    """Roll times up to the finest grain with at most `most` of them; return it and the groups.

    `filled` counts times without rows too. Where the formula doesn't allow it, or no grain fits, groups are unchanged.
    """
    if groups.formula is None or _count(groups, grain, filled=filled) <= most:
        return grain, groups
    for coarser in range(grain + 1, YEAR + 1):
        rolled = groups.cut_labels(LABEL_LENGTHS[coarser], ":00:00Z" if coarser == Grain.HOUR else "")
        if 1 < _count(rolled, coarser, filled=filled) <= most:
            return coarser, rolled
    return grain, groups


def fill_gaps(bars: list[Bar], grain: int) -> list[Bar]:
    """Return the bars with an empty one for each missing time between them."""
    values = dict(bars)
    times = fill_times(values, grain)
    whole = values.keys() <= set(times) and len(times) <= MOST_FILLED
    return [(time, values.get(time)) for time in times] if whole else bars


def _places(formula: Formula) -> tuple[int, ...]:
    match formula:
        case None:
            return ()
        case Added(column):
            return (column,)
        case Rate(numerator, denominator):
            return (numerator, *denominator)


def _find_column(table: Table, name: str) -> int:
    names = [column.name for column in table.columns]
    if name not in names:
        raise UsageError(f"--chart: the report has no column {name}, but {', '.join(names)[:300]}.")
    return names.index(name)


def _read_number(cell: object) -> Number | None:
    if isinstance(cell, int | Decimal):
        return cell
    try:
        return Decimal(str(cell)) if cell else None
    except InvalidOperation as error:
        raise UsageError(f"--chart: {str(cell)[:80]!r} is no number to draw.") from error


def _group(rows: int, own: Number | None, *sums: Number | None) -> Group:
    return Group(rows, None if own is None else Decimal(own), tuple(Decimal(each or 0) for each in sums))


def _count(groups: Groups, grain: int, *, filled: bool) -> int:
    return max(len(groups.by_label), len(fill_times(groups.by_label, grain)) if filled else 0)
