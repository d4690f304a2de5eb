"""The filters of templates: numbers, days, names and codes in the language of the visit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from reelport.catalog import Dimension, Metric, Unit
from reelport.catalog.labels import capitalize, label_dimension, label_metric, label_names
from reelport.charts import chart_types
from reelport.charts.amounts import add_sign, choose_unit, currency_sign, format_clock, format_short, is_clock
from reelport.charts.time_axis import describe_time
from reelport.language import _, localize, ngettext
from reelport.query import describe_query
from reelport.server.access.sessions import describe_browser
from reelport.server.explore.numbers import Figure
from reelport.wording import format_day, format_duration, format_size

Drawn = chart_types.Number | None
NO_NUMBER = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_LEAST_SCALED = Decimal("0.1")
_LEAST_SHORT = 1_000_000  # smaller numbers are as quickly read in full
_DIGITS, _FINE_DIGITS = 2, 4
_LEAST_MONEY = Decimal("0.01")
_LEAST_WHOLE_PERCENT = 1000  # a part that is added to so many tells nothing
# Units that no metric's name says, as several suit a number: seconds and hours, bytes and GB.
_TOLD_APART = frozenset({Unit.SECONDS, Unit.PERCENT, Unit.SHARE, Unit.BYTES})


def format_whole(value: float) -> str:
    """Write a whole number with its thousands set apart: 12,345."""
    return localize(f"{value:,.0f}")


def write_number(metric: Metric, value: Drawn) -> str:
    """Write a cell: whole numbers in full, two digits of decimals (four below 1), money signed."""
    if value is None:
        return NO_NUMBER
    if sign := currency_sign(metric.unit):
        return _write_money(sign, Decimal(value))
    if isinstance(value, int):
        return _write_digits(f"{value:,}")
    digits = _FINE_DIGITS if value and -1 < value < 1 else _DIGITS
    return _write_digits(f"{value:,.{min(digits, metric.digits)}f}")


def _write_money(sign: str, value: Decimal) -> str:
    """Write an amount with two digits, so that those of a column stand below each other."""
    is_small = value and abs(value) < _LEAST_MONEY
    amount = add_sign(sign, localize(f"{_LEAST_MONEY if is_small else abs(value):,.2f}"))
    return f"{_MINUS if value < 0 else ''}{'<' + chr(0xA0) if is_small else ''}{amount}"


def write_share(share: Decimal | None) -> str:
    """Write a share of a total: 12.3%."""
    return NO_NUMBER if share is None else _write_percent(share * 100)


def _write_percent(percent: Decimal) -> str:
    return _("%(amount)s%%", amount=_write_digits(f"{percent:,.{abs(percent) < _LEAST_WHOLE_PERCENT:d}f}"))


def _write_digits(text: str) -> str:
    """Write a number with the language's signs, and a minus as wide as a digit."""
    return localize(text).replace("-", _MINUS)


@dataclass(frozen=True, slots=True)
class MetricUnit:
    """How a metric's numbers are written: divided by `divisor`, as amounts of `unit`."""

    metric: Metric
    divisor: float = 1
    unit: str = ""

    @property
    def heading(self) -> str:
        """The heading of a column: Watch time (hours)."""
        return f"{name_metric(self.metric)} ({self.unit})" if self.is_named_apart else name_metric(self.metric)

    @property
    def is_named_apart(self) -> bool:
        """Whether the unit must be told beside the name."""
        return bool(self.unit) and self.metric.unit in _TOLD_APART

    def write(self, value: Drawn) -> str:
        """Write a number in this unit; short times as 3:42."""
        if value is not None and is_clock(self.metric.unit):
            return _write_digits(format_clock(value))
        if self.divisor == 1 or value is None:
            return write_number(self.metric, value)
        scaled = Decimal(value) / Decimal(str(self.divisor))
        is_small = scaled and abs(scaled) < _LEAST_SCALED
        return f"<\N{NO-BREAK SPACE}{localize(str(_LEAST_SCALED))}" if is_small else _write_digits(f"{scaled:,.1f}")

    def write_short(self, value: Drawn) -> str:
        """Write a number that stands alone: a large one with three digits, as 12.3 M."""
        scaled = 0.0 if value is None else float(value) / self.divisor
        if abs(scaled) < _LEAST_SHORT or is_clock(self.metric.unit):
            return self.write(value)
        return f"{_MINUS if scaled < 0 else ''}{add_sign(currency_sign(self.metric.unit), format_short(abs(scaled)))}"

    def write_amount(self, value: Drawn) -> str:
        """Write a number with its unit, where no heading tells that."""
        return f"{self.write(value)} {self.unit}" if self.is_named_apart and value is not None else self.write(value)

    def write_change(self, figure: Figure, *, in_full: bool = False) -> str:
        """Write by what part a number changed; from nothing, and `in_full`, by how much."""
        if figure.difference is None:
            return NO_NUMBER
        sign = _MINUS if figure.difference < 0 else "+" if figure.difference > 0 else ""
        amount = f"{sign}{self.write(-figure.difference if figure.difference < 0 else figure.difference)}"
        if figure.change is None:
            return amount
        percent = round(abs(figure.change) * 100, 1)
        part = f"{sign if percent else ''}{_write_percent(percent)}"
        return f"{amount} ({part})" if in_full else part


def choose_metric_unit(metric: Metric, values: Iterable[Drawn]) -> MetricUnit:
    """Choose the unit that suits the largest of a metric's numbers."""
    largest = max((abs(float(value)) for value in values if value is not None), default=0.0)
    return MetricUnit(metric, *choose_unit(metric.unit, largest))


def name_metric(metric: Metric) -> str:
    """Name a metric as a heading does: Watch time."""
    return capitalize(label_metric(metric))


def name_dimension(dimension: Dimension) -> str:
    """Name a dimension as a heading does: Country."""
    return capitalize(label_dimension(dimension))


def format_moment(moment: datetime) -> str:
    """Write a time to the minute, in UTC: 4 July 2026, 12:30 UTC."""
    return f"{format_day(moment)}, {moment:%H:%M} UTC"


def format_second(moment: datetime) -> str:
    """Write a time to the second, for logs; UTC: 2026-07-04 12:30:05."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def describe_time_left(left: timedelta) -> str:
    """Say how long a report is kept, as roughly as anybody cares: 3 days, 47 hours, 59 minutes."""
    minutes = max(round(left.total_seconds() / 60), 0)
    if minutes >= 2 * 1440:
        return ngettext("%(n)s day", "%(n)s days", round(minutes / 1440))
    if minutes >= 2 * 60:
        return ngettext("%(n)s hour", "%(n)s hours", round(minutes / 60))
    return ngettext("%(n)s minute", "%(n)s minutes", minutes)


FILTERS: Mapping[str, Callable[..., str]] = {
    "whole": format_whole,
    "bytes": format_size,
    "duration": format_duration,
    "time_left": describe_time_left,
    "day": format_day,
    "moment": format_moment,
    "second": format_second,
    "month": lambda day: describe_time(f"{day:%Y-%m}"),
    "labelled": label_names,
    "described": describe_query,
    # Words of enums that are marked where they are: kinds of keys, actions; and what a row of a table means.
    "kind": lambda row: _(row.value),
    "permission": lambda scope: _(scope.replace("_", " ")),
    "sentence": lambda row: _(row.sentence),
    "named": lambda row: _(row.label),
    "translated": _,  # a text that may be foreign: what `_` returns in a template is HTML
    "phrase": lambda row: _(row.phrase),
    "browser": describe_browser,
}
