"""Numbers on charts: short and in full, round ticks, the unit that suits their size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from reelport.catalog import Unit
from reelport.charts.chart_types import Number
from reelport.language import N_, _, current_language, localize

_LARGE = (1e12, 1e9, 1e6, 1e3)  # what the signs of a language for large numbers stand for
_LONGEST = 1e15  # from here on numbers are written by powers of ten

_STEPS = (1, 2, 2.5, 5, 10)
_PERCENT_SIGN = "%"  # a unit that stands behind each amount
_CLOCK_STEP = 30  # seconds: ticks of an axis of minutes are at whole or half ones
# For a unit: from which amount on it is divided by what, and the name of what it then is.
_LARGER_UNITS: dict[Unit, tuple[tuple[float, float, str], ...]] = {
    Unit.SECONDS: ((360, 3600, N_("hours")), (60, 60, N_("minutes"))),
    Unit.SHARE: ((0, 0.01, N_("percent")),),
    Unit.BYTES: (
        *((1e15, 1e15, N_("PB")), (1e12, 1e12, N_("TB")), (1e9, 1e9, N_("GB"))),
        *((1e6, 1e6, N_("MB")), (1e3, 1e3, N_("kB"))),
    ),
}

# The sign of each currency, by the word with which the units of its amounts begin.
_CURRENCIES = {"EUR": "€", "USD": "$"}


_SINGULARS = {
    Unit.VIEWS: N_("view"),
    Unit.SECONDS: N_("second"),
    Unit.VIDEOS: N_("video"),
    Unit.VIEWERS: N_("viewer"),
    Unit.AD_OPPORTUNITIES: N_("ad opportunity"),
    Unit.AD_REQUESTS: N_("ad request"),
    Unit.IMPRESSIONS: N_("impression"),
    Unit.BYTES: N_("byte"),
    Unit.RENDITIONS: N_("rendition"),
    Unit.CREDITS: N_("credit"),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis of amounts, from `low` to `high`, with ticks.

    Numbers on it are written divided by `divisor`, which makes them amounts of `unit`, and after the `sign` of money.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    divisor: float
    unit: str
    sign: str = ""
    is_clock: bool = False  # seconds are written as 3:42

    def place(self, value: Number) -> float:
        """Return where a number lies on the axis: 0 at its low end, 1 at its high end."""
        return (float(value) - self.low) / (self.high - self.low)

    def unit_beside(self, heading: str) -> str:
        """Return the name of the unit; nothing where the heading names it already."""
        return "" if self.unit.lower() in heading.lower() else self.unit

    def format(self, value: Number) -> str:
        """Format a number shortly, in the axis' unit."""
        if self.is_clock:
            return format_clock(value)
        amount = float(value) / self.divisor
        if self.unit == _PERCENT_SIGN:
            return _("%(amount)s%%", amount=format_short(amount))
        return f"{'-' if amount < 0 else ''}{add_sign(self.sign, format_short(abs(amount)))}"

    def format_ticks(self) -> dict[float, str]:
        """Format the ticks, with as many digits behind the point in each but 0."""
        texts = {tick: self.format(tick) for tick in self.ticks}
        amounts = [tick / self.divisor for tick in self.ticks]
        digits = max(len(f"{round(abs(each), 6):g}".partition(".")[2]) for each in amounts)
        if self.is_clock or not digits or max(map(abs, amounts)) >= _LARGE[-1]:
            return texts
        digits = max(digits, 2) if self.sign else digits
        for tick, amount in zip(self.ticks, amounts, strict=True):
            if amount:
                text = add_sign(self.sign, localize(f"{abs(amount):.{digits}f}"))
                texts[tick] = f"-{text}" if amount < 0 else text
        return texts


SHARES = Scale(0, 1, (0, 0.25, 0.5, 0.75, 1), 0.01, _PERCENT_SIGN)  # of a whole


def choose_scale(values: Iterable[Number | None], unit: Unit | None, most: int) -> Scale:
    """Choose an axis that holds 0 and all the numbers, with at most `most` ticks."""
    numbers = [float(value) for value in values if value is not None]
    fitted = fit_scale(numbers, unit)
    divisor = _CLOCK_STEP if fitted.is_clock and fitted.high > _CLOCK_STEP else fitted.divisor
    whole = fitted.is_clock or (divisor == 1 and all(number == int(number) for number in numbers))
    rounded = round_ticks(fitted.low / divisor, fitted.high / divisor, most, whole=whole)
    ticks = tuple(tick * divisor for tick in rounded)
    return replace(fitted, low=min(fitted.low, ticks[0]), high=max(fitted.high, ticks[-1]), ticks=ticks)


def fit_scale(values: Iterable[Number | None], unit: Unit | None) -> Scale:
    """Fit an axis without ticks: from the lowest number or 0 to the highest or 0."""
    numbers = [float(value) for value in values if value is not None]
    low, high = min(0.0, *numbers, 0.0), max(0.0, *numbers, 0.0)
    divisor, name = choose_unit(unit, max(high, -low))
    return Scale(low, high if high > low else 1.0, (), divisor, name, currency_sign(unit), is_clock(unit))


def is_clock(unit: Unit | None) -> bool:
    """Whether amounts of a unit are short times, which people read as 3:42."""
    return unit is Unit.SECONDS_PER_VIEW


def format_clock(seconds: Number) -> str:
    """Format seconds as minutes and seconds, from an hour on with hours: 3:42, 1:02:03."""
    minutes, rest = divmod(round(abs(float(seconds))), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"-{clock}" if seconds < 0 else clock


def currency_sign(unit: Unit | None) -> str:
    """The sign of a unit's currency; empty where its amounts are no money."""
    return _CURRENCIES.get(unit.value.partition(" ")[0], "") if unit else ""


def choose_unit(unit: Unit | None, largest: float) -> tuple[float, str]:
    """Return a divisor for amounts up to the largest, and the unit that it makes of them."""
    for least, divisor, name in _LARGER_UNITS.get(unit, ()) if unit else ():
        if largest >= least:
            return divisor, _(name)
    if unit is None or is_clock(unit) or unit in _CURRENCIES:  # each amount says it
        return 1, ""
    return 1, _(unit.value)


def add_sign(sign: str, amount: str) -> str:
    """Write an amount with the sign of its currency; without one as it is."""
    return _("%(sign)s%(amount)s", sign=sign, amount=amount) if sign else amount


def round_ticks(low: float, high: float, most: int, *, whole: bool) -> tuple[float, ...]:
    """At most `most` round numbers at equal steps around the range; 0 and 1 for an empty one."""
    if high <= low:
        return (0.0, 1.0)
    step = _round_up((high - low) / max(most - 1, 1))
    while True:
        step = max(1.0, math.ceil(step)) if whole else step
        first, last = math.floor(low / step), math.ceil(high / step)
        if last - first < most or most < 2:  # noqa: PLR2004 - a step has two ends
            return tuple(float(place * step) for place in range(first, last + 1))
        step = _round_up(step * 1.01)


def format_short(value: float) -> str:
    """Format with three digits at most: 12.3 k, 4 M, 0.42; from 16 digits on by powers of ten."""
    size = abs(value)
    if size >= _LONGEST:
        return localize(f"{value:.2g}")
    for least, sign in zip(_LARGE, current_language().large, strict=True):
        if float(f"{size:.3g}") >= least:
            return f"{_trim(value / least)}\N{NO-BREAK SPACE}{sign}"
    return _trim(value)


def format_full(value: Number | None, unit: Unit | None = None) -> str:
    """Format a number with all its digits and its unit: 12,345 views; `no number` for None."""
    if value is None:
        return _("no number")
    text = f"{value:,}"
    if not isinstance(value, int):
        whole, point, digits = f"{Decimal(str(value)):,f}".partition(".")
        text = f"{whole}{point}{digits[:2]}{digits[2:].rstrip('0')}"
    text = localize(text)
    match unit:
        case None:
            return text
        case Unit.EUR | Unit.USD:
            return add_sign(currency_sign(unit), text)
        case Unit.PERCENT:
            return _("%(amount)s%%", amount=text)
        case _:
            return f"{text} {_(_SINGULARS.get(unit, unit.value) if value == 1 else unit.value)}"


def list_numbers(values: Sequence[Number | None]) -> list[tuple[int, Number]]:
    """Return the numbers among values, each with its place."""
    return [(place, value) for place, value in enumerate(values) if value is not None]


def _round_up(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(each * power for each in (*_STEPS, 20) if each * power >= step * (1 - 1e-9))


def _trim(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    text = f"{value:.{digits}f}"
    return localize(text.rstrip("0").rstrip(".") if "." in text else text)
