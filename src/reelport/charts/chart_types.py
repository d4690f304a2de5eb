"""What charts show, as values: lines over time, shares of them, bars by category, maps."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from reelport.catalog import Grain, Unit

Number = int | float | Decimal

MOST_LINES = 6  # of a chart: so many looks of them there are, each a colour and a dash of its own
MOST_STACKED = 100  # times of stacked shares: bars of more are too thin to point at


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and a number for each time; None where there is no number."""

    name: str
    values: tuple[Number | None, ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over time in one plot, all of one unit.

    `times` are labels as in a report (2026-07-01), without holes: a time without a number is a gap in its line.
    `settled` is how many times, from the first, have numbers that won't change any more; None for all of them.
    `comparison` is one more line, drawn dashed: its numbers stand at the same places as `times`, and
    `comparison_times` are the times that they are of.
    """

    heading: str
    times: tuple[str, ...]
    series: tuple[Series, ...]
    unit: Unit | None = None
    grain: int = Grain.DAY
    settled: int | None = None
    notes: tuple[str, ...] = ()
    comparison: Series | None = None
    comparison_times: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[Series, ...]:
        """The series, and last the compared one."""
        return (*self.series, self.comparison) if self.comparison else self.series

    @property
    def numbers(self) -> list[Number]:
        """All numbers that are drawn."""
        return [value for each in self.lines for value in each.values if value is not None]

    @property
    def first_moving(self) -> int:
        """The place of the first time whose numbers may still change; after the last for none."""
        return len(self.times) if self.settled is None else min(max(self.settled, 0), len(self.times))


@dataclass(frozen=True, slots=True)
class StackedShares(LineChart):
    """What part each series has of all, by time: bars of 100 %.

    No number is below 0, and no line is compared.
    """

    @property
    def numbers(self) -> list[Number]:
        """The wholes that have parts to draw."""
        return list(filter(None, self.wholes))

    @property
    def wholes(self) -> list[Number]:
        """What all series come to at each time."""
        return [
            sum(value or 0 for value in values) for values in zip(*(each.values for each in self.series), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Bar:
    """A category: its label, its number or None, and of a country its code (ISO 3166, alpha-2)."""

    label: str
    value: Number | None
    code: str = ""


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars by category, in the order given."""

    heading: str
    bars: tuple[Bar, ...]
    unit: Unit | None = None
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[Number]:
        """All numbers that are drawn."""
        return [bar.value for bar in self.bars if bar.value is not None]


@dataclass(frozen=True, slots=True)
class WorldMap(BarChart):
    """Countries of the world, coloured by their numbers.

    Codes that no map has are named below it.
    """


Chart = LineChart | BarChart


def name_look(place: int) -> str:
    """Name the class of the line at this place of a chart."""
    return f"chart-s{place % MOST_LINES}"
