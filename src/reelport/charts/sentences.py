"""What a chart shows, in words: for readers who don't see it, and for what is pointed at."""

from __future__ import annotations

from collections.abc import Sequence

from reelport.catalog import Grain, Unit
from reelport.charts.amounts import format_full, list_numbers
from reelport.charts.chart_types import BarChart, ChartOverTime, LineChart, Number, Series, WorldMap
from reelport.charts.time_axis import describe_time
from reelport.language import N_, _, ngettext

MAY_CHANGE = N_("may still change")
_MOST_DESCRIBED = 6  # series or bars that a description names


def explain_empty(rows: Sequence[object]) -> str:
    """Say why there is nothing to draw: no rows, or no numbers in them."""
    return _("There is no number to draw.") if rows else _("The report has no rows to draw.")


def describe_lines(chart: ChartOverTime) -> str:
    """Describe lines over time: their range, and the lowest, highest and last number of each."""
    if not chart.times:
        return explain_empty(chart.times)
    first, last = describe_time(chart.times[0]), describe_time(chart.times[-1])
    count = _count_times(len(chart.times), chart.grain)
    said = [_("%(times)s, %(first)s to %(last)s.", times=count, first=first, last=last)]
    said += [_describe_series(each, chart.times, chart) for each in chart.series[:_MOST_DESCRIBED]]
    if (left := len(chart.series) - _MOST_DESCRIBED) > 0:
        said.append(ngettext("%(n)s more line.", "%(n)s more lines.", left))
    if isinstance(chart, LineChart) and chart.comparison is not None:
        times = chart.comparison_times or chart.times
        said.append(_("Compared with %(line)s", line=_describe_series(chart.comparison, times, chart)))
    return " ".join([*said, *describe_moving(chart)])


def describe_moving(chart: ChartOverTime) -> list[str]:
    """Say from when on numbers may still change; nothing where none may."""
    place = chart.first_moving
    if place >= len(chart.times):
        return []
    return [_("From %(time)s on, numbers may still change.", time=describe_time(chart.times[place]))]


def describe_bars(chart: BarChart) -> str:
    """Describe bars: how many, and the first of them with their numbers."""
    count = ngettext("%(n)s bar", "%(n)s bars", len(chart.bars))
    return _describe_values(count, [(bar.label, bar.value) for bar in chart.bars], chart.unit)


def describe_countries(chart: WorldMap) -> str:
    """Describe a map: how many countries, and those with the largest numbers."""
    values = [(country.name, country.value) for country in chart.countries]
    largest = sorted(values, key=lambda each: -float(each[1] or 0))
    return _describe_values(ngettext("%(n)s country", "%(n)s countries", len(values)), largest, chart.unit)


def _describe_values(count: str, values: Sequence[tuple[str, Number | None]], unit: Unit | None) -> str:
    if not values:
        return explain_empty(values)
    named = [f"{label}: {format_full(value, unit)}" for label, value in values[:_MOST_DESCRIBED]]
    if len(values) > len(named):
        named.append(_("%(count)s more", count=len(values) - len(named)))
    return f"{count}. {'; '.join(named)}."


def _describe_series(series: Series, times: Sequence[str], chart: ChartOverTime) -> str:
    numbers = list_numbers(series.values)
    if not numbers:
        return _("%(name)s: no numbers.", name=series.name)
    lowest, highest, last = (
        f"{format_full(value, chart.unit)} ({describe_time(times[place])})"
        for place, value in (*(pick(numbers, key=lambda each: each[1]) for pick in (min, max)), numbers[-1])
    )
    said = _(
        "%(name)s: lowest %(lowest)s, highest %(highest)s, last %(last)s.",
        name=series.name,
        lowest=lowest,
        highest=highest,
        last=last,
    )
    missing = len(series.values) - len(numbers)
    gaps = _("%(times)s without a number.", times=_count_times(missing, chart.grain)) if missing else ""
    return f"{said} {gaps}".rstrip()


def _count_times(number: int, grain: int) -> str:
    match grain:
        case Grain.MINUTE:
            return ngettext("%(n)s minute", "%(n)s minutes", number)
        case Grain.HOUR:
            return ngettext("%(n)s hour", "%(n)s hours", number)
        case Grain.DAY:
            return ngettext("%(n)s day", "%(n)s days", number)
        case Grain.WEEK:
            return ngettext("%(n)s week", "%(n)s weeks", number)
        case Grain.MONTH:
            return ngettext("%(n)s month", "%(n)s months", number)
        case _:
            return ngettext("%(n)s year", "%(n)s years", number)
