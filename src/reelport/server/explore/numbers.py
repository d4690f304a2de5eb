"""The numbers of a view: totals, lines and leaderboards, beside those of the compared days.

A number is a cell of a report: None is an empty one. What adds up is 0 where a row lacks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from reelport.catalog import Dimension, Distinct, Metric, Ratio
from reelport.language import N_

Number = int | Decimal | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and the same of the compared days: None where there is none, or no comparison."""

    value: Number
    before: Number = None

    @property
    def difference(self) -> Number:
        """By how much it changed; None where either number is missing."""
        return None if self.value is None or self.before is None else self.value - self.before

    @property
    def change(self) -> Decimal | None:
        """The difference as a share of the number before; None where that is 0 or missing."""
        if self.difference is None or not self.before:
            return None
        return Decimal(self.difference) / abs(Decimal(self.before))


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the lines: the first day of its time, and one figure per metric.

    A time without facts has figures without values. The compared time is as many days before as the compared range.
    """

    day: date
    figures: tuple[Figure, ...]


Totals = tuple[Figure, ...]
Lines = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a leaderboard: its cell (None: empty), a title, and one figure per metric.

    `title` and `picture`, an address, are those of what the cell names. `shares` are of the total, one per metric, None
    where there is none. An entry that is not `is_shown` has numbers in the compared days alone.
    """

    cell: str | None
    title: str | None
    figures: tuple[Figure, ...]
    shares: tuple[Decimal | None, ...]
    is_shown: bool = True
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The first entries of a dimension, how many there are in all, and what the others come to.

    `rest` has one number per metric, None where the metric doesn't add up over the dimension; `reasons` says why, by
    metric. `compared` is how many rows the compared days have.
    """

    dimension: Dimension
    entries: tuple[Entry, ...]
    rows: int
    compared: int
    rest: tuple[Number, ...]
    reasons: Mapping[Metric, str]


@dataclass(frozen=True, slots=True)
class Window:
    """The first hours of a video: its numbers, and what is usual in its channel.

    Numbers are one per metric. `own` is None for a video that is not as old yet, or was there before the first
    complete day. `usual` are the medians of `peers` other videos, None where there are none.
    """

    hours: int
    own: tuple[Number, ...] | None
    usual: tuple[Number, ...] | None
    peers: int


@dataclass(frozen=True, slots=True)
class FirstDays:
    """When a video was uploaded (UTC, no zone), and its windows."""

    born: datetime
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class OverBudget:
    """Why a part of a view wasn't computed: it costs more than a page may. A report may."""

    sentence: str


TOO_LARGE = N_("It needs more memory than a page may use.")  # a sentence of OverBudget


@dataclass(frozen=True, slots=True)
class Numbers:
    """All numbers of a view. Each part is whole, or says why it isn't there.

    `totals` has one figure per metric, without values where there are no facts. `lines` has every time of the view.
    `picked` are the values of a dimension to choose from.
    """

    totals: Totals | OverBudget
    lines: Lines | OverBudget
    leaderboards: Mapping[Dimension, Leaderboard | OverBudget]
    picked: Leaderboard | OverBudget | None = None

    @property
    def over_budget(self) -> OverBudget | None:
        """The first part that is missing."""
        parts = (self.totals, self.lines, *self.leaderboards.values())
        return next((part for part in parts if isinstance(part, OverBudget)), None)


def explain_missing_share(metric: Metric, dimension: Dimension) -> str | None:
    """Say why values of a metric by a dimension don't add up to the total; None when they do."""
    match metric.rule:
        case Ratio():
            return N_("A rate doesn't add up: its values have no shares of a total.")
        case Distinct():
            return N_("One viewer may be counted with several values, so that they don't add up to the total.")
        case _ if dimension.many_valued:
            return N_("One video may be counted with several values, so that they don't add up to the total.")
        case _:
            return None
