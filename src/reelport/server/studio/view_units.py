"""In which unit a view tells each metric: one for its chart, its tables and its total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from reelport.catalog import Metric
from reelport.catalog.labels import capitalize, label_metric
from reelport.charts.amounts import choose_unit
from reelport.server.explore.numbers import Figure, Lines, Number, Numbers, Totals
from reelport.server.explore.view import View
from reelport.server.studio.number_text import write_change, write_number, write_scaled

_ENDING = {"seconds": " seconds", "bytes": " bytes"}
"""Endings of names that tell a unit, for units that amounts are told in larger ones of."""


@dataclass(frozen=True, slots=True)
class MetricUnit:
    """How a metric's numbers are told: divided by `divisor`, as amounts of `unit`."""

    metric: Metric
    divisor: int = 1
    unit: str = ""

    @property
    def heading(self) -> str:
        """The heading of a column: the name, with the unit that its numbers are divided for."""
        name = name_amount(self.metric)
        return f"{name} ({self.unit})" if self.is_named_apart else name

    @property
    def is_named_apart(self) -> bool:
        """Whether the unit must be told beside the name."""
        return bool(self.unit) and self.unit not in name_amount(self.metric).lower() and bool(_find_ending(self.metric))

    def write(self, value: Number) -> str:
        """Write a number in this unit."""
        if self.divisor == 1 or value is None:
            return write_number(self.metric, value)
        return write_scaled(Decimal(value) / self.divisor)

    def write_change(self, figure: Figure) -> str:
        """Write how much a number changed."""
        return write_change(figure, self.write)


def choose_units(view: View, numbers: Numbers) -> dict[Metric, MetricUnit]:
    """Choose the unit of each metric of a view: that of its chart, by its largest number."""
    return {metric: _choose(metric, _list_values(view, numbers, place)) for place, metric in enumerate(view.metrics)}


def name_amount(metric: Metric) -> str:
    """Name a metric at the beginning of a heading, without a unit that is told beside it."""
    label, ending = label_metric(metric), _find_ending(metric)
    return capitalize(label.removesuffix(ending))


def _find_ending(metric: Metric) -> str:
    """Find the end of the metric's name that tells its unit; empty where it has none."""
    ending = _ENDING.get(metric.unit.value, "")
    return ending if ending and label_metric(metric).endswith(ending) else ""


def _choose(metric: Metric, values: Iterable[Number]) -> MetricUnit:
    largest = max((abs(float(value)) for value in values if value is not None), default=0.0)
    divisor, unit = choose_unit(metric.unit, largest)
    return MetricUnit(metric, int(divisor), unit)


def _list_values(view: View, numbers: Numbers, place: int) -> Iterable[Number]:
    """List the numbers of the metric's chart, or its total where there is no chart."""
    match numbers.lines, numbers.totals:
        case Lines(points), _:
            figures = [point.figures[place] for point in points]
        case _, Totals(totals):
            figures = [totals[place]]
        case _:
            figures = []
    befores = (figure.before for figure in figures) if view.compares_lines else ()
    return [*(figure.value for figure in figures), *befores]
