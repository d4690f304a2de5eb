"""A sync spec: query, since when, how long its numbers change, destination; days."""

from __future__ import annotations

import hashlib
import json
from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

from reelport.catalog import Dimension, Grain, Limit
from reelport.client.ranges.windows import Window
from reelport.query import DEFAULT_PRODUCT, ReportQuery

_ONE = timedelta(days=1)

Span = tuple[date, date]  # first and last day, both included

LOOKBACK = 7  # days read again by default. No vendor publishes how long numbers change; `sync verify` measures it.
SETTLE = 1  # newest days that are not read yet by default: today is not over
_BY_PREFERENCE = (Grain.DAY, Grain.HOUR, Grain.MINUTE, Grain.MONTH)


@dataclass(frozen=True, slots=True)
class Days:
    """A set of days. Its spans are sorted, and neither overlap nor touch."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """Make a set from spans in any order; a span that ends before it starts is empty."""
        joined: list[Span] = []
        for first, last in sorted(span for span in spans if span[0] <= span[1]):
            if joined and first <= _after(joined[-1][1]):
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    @classmethod
    def between(cls, first: date, last: date) -> Self:
        """Make a set of every day from the first to the last, both included."""
        return cls.of([(first, last)])

    @classmethod
    def of_window(cls, window: Window) -> Self:
        """Make the set of a window's days."""
        return cls.between(window.start, window.end)

    def __or__(self, other: Days) -> Days:
        return Days.of((*self.spans, *other.spans))

    def __and__(self, other: Days) -> Days:
        return Days.of((max(first, low), min(last, high)) for first, last in self.spans for low, high in other.spans)

    def __sub__(self, other: Days) -> Days:
        left = list(self.spans)
        for low, high in other.spans:
            left = [piece for span in left for piece in _without(span, low, high)]
        return Days.of(left)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and any(first <= day <= last for first, last in self.spans)

    def __iter__(self) -> Iterator[date]:
        for first, last in self.spans:
            for step in range((last - first).days + 1):
                yield first + timedelta(days=step)

    def __len__(self) -> int:
        return sum((last - first).days + 1 for first, last in self.spans)

    def __str__(self) -> str:
        return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in self.spans) or "none"

    def to_json(self) -> list[list[str]]:
        """Give pairs of first and last day as ISO texts."""
        return [[first.isoformat(), last.isoformat()] for first, last in self.spans]

    @classmethod
    def from_json(cls, pairs: Iterable[Iterable[str]]) -> Self:
        """Read what `to_json` gave. Raises ValueError for anything else."""
        return cls.of((date.fromisoformat(first), date.fromisoformat(last)) for first, last in pairs)


NONE = Days()


def month_first(day: date) -> date:
    """Return the first day of the day's month."""
    return day.replace(day=1)


def month_last(day: date) -> date:
    """Return the last day of the day's month."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def _after(day: date) -> date:
    return day if day == date.max else day + _ONE


def _without(span: Span, low: date, high: date) -> Iterator[Span]:
    first, last = span
    if high < first or low > last:
        yield span
        return
    if first < low:
        yield first, low - _ONE
    if high < last:
        yield high + _ONE, last


class Contract(StrEnum):
    """What sync does with columns and values that the copy has no place for."""

    EVOLVE = "evolve"
    """Add or widen columns for them, and say so."""
    FREEZE = "freeze"
    """Stop, and change nothing."""
    DISCARD_VALUE = "discard_value"
    """Leave out the values, and say so."""
    DISCARD_ROW = "discard_row"
    """Leave out the rows that have such values, and say so."""


class Kind(StrEnum):
    """Kinds of destination."""

    DUCKDB = "DuckDB file"
    PARQUET = "Parquet folder"


@dataclass(frozen=True, slots=True)
class Place:
    """A destination's kind and absolute path."""

    kind: Kind
    path: Path

    @property
    def work_folder(self) -> Path:
        """The folder beside the destination for its lock and for downloads that are not loaded yet."""
        return self.path.with_name(f".{self.path.name}.sync")

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Spec:
    """One named report to keep up to date. Days are UTC days.

    Sync reads a day once it is `settle` days old, and again until `lookback` more days have passed; then its numbers
    are taken as final.
    """

    name: str
    metrics: tuple[str, ...]
    dimensions: tuple[str, ...]
    start: date
    place: Place
    filters: tuple[tuple[str, str], ...] = ()
    product: str = DEFAULT_PRODUCT
    lookback: int = LOOKBACK
    settle: int = SETTLE
    window: int = Limit.RANGE_DAYS.default
    contract: Contract = Contract.EVOLVE

    def query(self, start: date, end: date) -> ReportQuery:
        """Build the query over these days, both included."""
        return ReportQuery(self.metrics, self.dimensions, start, end, self.filters, self.product)

    def end(self, today: date) -> date:
        """Return the last day that is old enough to be read."""
        return today - timedelta(days=self.settle)

    def last_final_day(self, asked: date) -> date:
        """Return the last final day of a report asked for on `asked`; a month's if monthly."""
        return self.last_whole_day(self.end(asked) - timedelta(days=self.lookback))

    def last_whole_day(self, last: date) -> date:
        """Return the last complete day when facts go up to `last`; a month's if monthly."""
        return last if not self.monthly or last == month_last(last) else month_first(last) - timedelta(days=1)

    @property
    def time(self) -> str | None:
        """The column of a row's day, or of its month at the finest; None without a time."""
        headers = {row.grain: row.header for row in _time_dimensions(self.dimensions)}
        return next((headers[grain] for grain in _BY_PREFERENCE if grain in headers), None)

    @property
    def monthly(self) -> bool:
        """Whether rows are of whole months: then no month is read in pieces."""
        return {row.grain for row in _time_dimensions(self.dimensions)} == {Grain.MONTH}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the spec's reports."""
        return tuple(name.lower() for name in (*self.dimensions, *self.metrics))

    @property
    def identity(self) -> str:
        """A hash of the query without days and order; when it changes, all is outdated."""
        meaning = [sorted(self.metrics), sorted(self.dimensions), self.filters, self.product]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()


def _time_dimensions(dimensions: Iterable[str]) -> tuple[Dimension, ...]:
    known = [Dimension[name] for name in dimensions if name in Dimension.__members__]
    return tuple(row for row in known if row.grain is not None)
