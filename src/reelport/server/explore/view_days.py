"""The days of a view: ranges by name, compared days, and the longest range by a grain."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from enum import Enum, StrEnum, unique

from reelport.catalog import Dimension, Grain, Metric
from reelport.charts.time_axis import GRAIN_WORDS
from reelport.check import Rules
from reelport.language import N_, _, localize, ngettext
from reelport.wording import format_list

LONGEST_BY_DAY = 186  # days of the longest range whose lines are by day unless the view says otherwise
# Days of the longest range whose lines can be by a grain: with more points a chart shows no single one any more.
MOST_DAYS = {Grain.HOUR: 31, Grain.DAY: 1100, Grain.WEEK: 3660}
WEEK = 7  # days
# The first day of which a view may show numbers: compared days lie before it, and the calendar begins somewhere.
EARLIEST = date(1970, 1, 1)


@unique
class Preset(Enum):
    """A range by name, up to the last complete day of the tables that a view reads.

    Its value is the word in a URL; `label` names it on the page. `days` is its length, None where that varies.
    """

    LAST_7_DAYS = "last-7-days", N_("Last 7 days"), 7
    LAST_28_DAYS = "last-28-days", N_("Last 28 days"), 28
    LAST_90_DAYS = "last-90-days", N_("Last 90 days"), 90
    LAST_365_DAYS = "last-365-days", N_("Last 365 days"), 365
    LAST_WEEK = "last-week", N_("Last week"), None
    THIS_MONTH = "this-month", N_("This month"), None
    LAST_MONTH = "last-month", N_("Last month"), None
    LIFETIME = "lifetime", N_("Lifetime"), None

    def __init__(self, word: str, label: str, days: int | None) -> None:
        self.word = word
        self.label = label
        self.days = days

    @property
    def short_label(self) -> str:
        """Its name beside those of other ranges: 28 days."""
        return _(self.label) if self.days is None else ngettext("%(n)s day", "%(n)s days", self.days)

    def resolve(self, complete: date, first: date) -> tuple[date, date]:
        """Find its first and last day, given the last complete day, and the first one with data."""
        if self.days is not None:
            return complete - timedelta(self.days - 1), complete
        if self is Preset.LIFETIME:
            return min(first, complete), complete
        if self is Preset.THIS_MONTH:
            return complete.replace(day=1), complete
        if self is Preset.LAST_WEEK:  # from Monday to Sunday, as soon as that Sunday is complete
            last = complete - timedelta((complete.weekday() + 1) % WEEK)
            return last - timedelta(WEEK - 1), last
        last = (complete + timedelta(1)).replace(day=1) - timedelta(1)  # a month is the last one once it is complete
        return last.replace(day=1), last


DEFAULT_PRESET = Preset.LAST_28_DAYS  # the range of a view that names no days


class Comparison(StrEnum):
    """The days that a view's numbers are compared with."""

    NONE = "none"
    PREVIOUS = "previous"  # as many days, right before
    WEEKDAYS = "weekdays"  # as many days, a whole number of weeks before: a Monday is compared with a Monday
    YEAR = "year"  # the same days a year before; a 29 February is compared with the 28th

    def find_days(self, start: date, end: date) -> tuple[date, date] | None:
        """The first and last of the days that these are compared with; None without a comparison."""
        days = (end - start).days + 1
        match self:
            case Comparison.NONE:
                return None
            case Comparison.PREVIOUS:
                back = timedelta(days)
            case Comparison.WEEKDAYS:
                back = timedelta(-(-days // WEEK) * WEEK)
            case Comparison.YEAR:
                return a_year_before(start), a_year_before(end)
        return start - back, end - back


def a_year_before(day: date) -> date:
    """The same day a year before; the 28th for a 29 February."""
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - 1, day=28 if is_leap_day else day.day)


def default_grain(days: int) -> Grain:
    """The grain of the lines of so many days, unless the view says otherwise."""
    return Grain.DAY if days <= LONGEST_BY_DAY else Grain.MONTH


def time_dimension(grain: Grain) -> Dimension:
    """The dimension of time of a grain; a week has days."""
    return next(row for row in Dimension if row.grain is (Grain.DAY if grain is Grain.WEEK else grain))


def explain_grain(grain: Grain, days: int, metrics: Iterable[Metric], rules: Rules) -> str | None:
    """Say why these metrics can't have lines by a grain over so many days; None where they can."""
    most, word = MOST_DAYS.get(grain, days), _(GRAIN_WORDS[grain])
    if days > most:
        return _(
            "Lines by %(grain)s are of %(most)s days at most: choose fewer days, or lines by %(coarser)s.",
            grain=word,
            most=localize(f"{most:,}"),
            coarser=_(GRAIN_WORDS[default_grain(days)]),
        )
    by = time_dimension(grain)
    coarse = [metric.name for metric in metrics if by not in metric.family.dimensions(permissive=rules.permissive)]
    return _("%(metrics)s can't be had by %(grain)s.", metrics=format_list(coarse), grain=word) if coarse else None
