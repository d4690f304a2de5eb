"""Numbers of a view as people read them: rounded, and each metric in one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from reelport.catalog import Metric
from reelport.catalog.labels import capitalize, label_metric
from reelport.charts.amounts import choose_unit
from reelport.server.explore.numbers import Figure, Lines, Number, Numbers, Totals
from reelport.server.explore.view import View

NO_NUMBER = "\N{EN DASH}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_LEAST_SCALED = Decimal("0.1")
_DIGITS, _FINE_DIGITS = 2, 4
_LEAST_MONEY = Decimal("0.01")
_CURRENCIES = {"EUR": "€", "USD": "$"}
"""The sign of each currency, by the word with which the units of its amounts begin."""
_ENDING = {"seconds": " seconds", "bytes": " bytes"}
"""Endings of names that tell a unit, for units that amounts are told in larger ones of."""


def write_number(metric: Metric, value: Number) -> str:
    """Write a cell: whole numbers in full, two digits of decimals (four below 1), money signed."""
    if value is None:
        return NO_NUMBER
    if sign := _CURRENCIES.get(metric.unit.value.partition(" ")[0]):
        return _write_money(sign, Decimal(value))
    if isinstance(value, int):
        return group_digits(f"{value:,}")
    digits = _DIGITS if abs(value) >= 1 or not value else _FINE_DIGITS
    return group_digits(f"{value:,.{min(digits, metric.digits)}f}")


def _write_money(sign: str, value: Decimal) -> str:
    """Write an amount with two digits, so that those of a column stand below each other."""
    if value and abs(value) < _LEAST_MONEY:
        return f"{_MINUS if value < 0 else ''}<\N{NO-BREAK SPACE}{sign}{_LEAST_MONEY}"
    return f"{_MINUS if value < 0 else ''}{sign}{group_digits(f'{abs(value):,.2f}')}"


def write_scaled(value: Decimal) -> str:
    """Write an amount in a larger unit than its own, with one digit behind the point."""
    if value and abs(value) < _LEAST_SCALED:
        return f"< {_LEAST_SCALED}"
    return group_digits(f"{value:,.1f}")


def write_full(value: Number) -> str:
    """Write a cell as the report's file has it."""
    return "" if value is None else str(value)


def write_share(share: Decimal | None) -> str:
    """Write a share of a total: 12.3 %."""
    return NO_NUMBER if share is None else f"{group_digits(f'{share * 100:,.1f}')}{_THIN}%"


def write_change(figure: Figure, write: Callable[[Number], str]) -> str:
    """Write how much a number changed: by what part, else by how much, which `write` writes."""
    if figure.difference is None:
        return NO_NUMBER
    if figure.change is not None:
        percent = round(abs(figure.change) * 100, 1)
        sign = _sign(figure.difference) if percent else ""
        return f"{sign}{group_digits(f'{percent:,.1f}')}{_THIN}%"
    size = -figure.difference if figure.difference < 0 else figure.difference
    return f"{_sign(figure.difference)}{write(size)}"


def _sign(difference: int | Decimal) -> str:
    return _MINUS if difference < 0 else "+" if difference > 0 else ""


def group_digits(text: str) -> str:
    """Set thousands apart by thin spaces, and write a minus as wide as a digit."""
    return text.replace(",", _THIN).replace("-", _MINUS)


@dataclass(frozen=True, slots=True)
class MetricUnit:
    """How a metric's numbers are written: divided by `divisor`, as amounts of `unit`."""

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
