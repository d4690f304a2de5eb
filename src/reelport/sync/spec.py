"""A report that is kept up to date: what is asked, since when, how long its numbers move, and where it goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

from reelport.catalog import Dimension, Grain, Limit
from reelport.query import DEFAULT_PRODUCT, ReportQuery
from reelport.sync.days import month_first, month_last

LOOKBACK = 7
"""Days that are read again by default: nobody has published how long numbers move. `sync verify` measures it."""

SETTLE = 1
"""Days at the end that are not read at all by default: today is not over."""


_BY_PREFERENCE = (Grain.DAY, Grain.HOUR, Grain.MINUTE, Grain.MONTH)


class Contract(StrEnum):
    """What becomes of columns, and of values, that the copy has no place for."""

    EVOLVE = "evolve"
    """Make room for them, and say so."""
    FREEZE = "freeze"
    """Stop, and change nothing."""
    DISCARD_VALUE = "discard_value"
    """Leave out the values, and say so."""
    DISCARD_ROW = "discard_row"
    """Leave out the rows that have such values, and say so."""


class Kind(StrEnum):
    """What a destination is."""

    DUCKDB = "DuckDB file"
    PARQUET = "Parquet folder"


@dataclass(frozen=True, slots=True)
class Place:
    """A destination: a DuckDB file or a Parquet folder, by its whole path."""

    kind: Kind
    path: Path

    @property
    def workshop(self) -> Path:
        """The folder beside it for the lock and for files on their way in."""
        return self.path.with_name(f".{self.path.name}.sync")

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Spec:
    """One report that is kept up to date, by name. Days are days of UTC.

    A day is read once it is `settle` days old, and is read again until `lookback` days more have passed:
    only then are its numbers taken to stand still.
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
        """The report over these days, both included."""
        return ReportQuery(self.metrics, self.dimensions, start, end, self.filters, self.product)

    def end(self, today: date) -> date:
        """The last day that is old enough to be read."""
        return today - timedelta(days=self.settle)

    def still(self, asked: date) -> date:
        """The last day whose numbers a report that was asked for on this day has for good: of months, whole ones."""
        return self.whole(self.end(asked) - timedelta(days=self.lookback))

    def whole(self, last: date) -> date:
        """The last day whose rows are whole when facts are known up to this day: of months, the end of a whole one."""
        return last if not self.monthly or last == month_last(last) else month_first(last) - timedelta(days=1)

    @property
    def time(self) -> str | None:
        """The column that says which day a row is of (of which month, where nothing finer is asked for)."""
        headers = {row.grain: row.header for row in _timed(self.dimensions)}
        return next((headers[grain] for grain in _BY_PREFERENCE if grain in headers), None)

    @property
    def monthly(self) -> bool:
        """Whether its rows are of whole months: then no month is read in pieces."""
        return {row.grain for row in _timed(self.dimensions)} == {Grain.MONTH}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its reports."""
        return tuple(name.lower() for name in (*self.dimensions, *self.metrics))

    @property
    def identity(self) -> str:
        """What its rows mean, as a text: another identity makes all that was read before out of date.

        The order of columns is no part of it.
        """
        meaning = [sorted(self.metrics), sorted(self.dimensions), self.filters, self.product]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()


def _timed(dimensions: Iterable[str]) -> tuple[Dimension, ...]:
    known = [Dimension[name] for name in dimensions if name in Dimension.__members__]
    return tuple(row for row in known if row.grain is not None)
