"""What a chart shows, in words: for readers who don't see it, and for what is pointed at."""

from __future__ import annotations

from collections.abc import Sequence

from reelport.catalog import Grain, Unit
from reelport.charts.amounts import format_full, list_numbers
from reelport.charts.chart_types import BarChart, ChartOverTime, LineChart, Number, Series, WorldMap
from reelport.charts.time_axis import GRAIN_WORDS, describe_time
from reelport.language import N_, _
from reelport.wording import format_count

NO_NUMBER = "No row has a number."
MAY_CHANGE = N_("may still change")
NO_ROWS = "The report has no rows to draw."
_MOST_DESCRIBED = 6  # series or bars that a description names


def describe_lines(chart: ChartOverTime) -> str:
    """Describe lines over time: their range, and the lowest, highest and last number of each."""
    if not chart.times:
        return NO_ROWS
    first, last = describe_time(chart.times[0]), describe_time(chart.times[-1])
    said = [f"{format_count(len(chart.times), GRAIN_WORDS[chart.grain])}, {first} to {last}."]
    said += [_describe_series(each, chart.times, chart) for each in chart.series[:_MOST_DESCRIBED]]
    if len(chart.series) > _MOST_DESCRIBED:
        said.append(f"{len(chart.series) - _MOST_DESCRIBED} more lines.")
    if isinstance(chart, LineChart) and chart.comparison is not None:
        times = chart.comparison_times or chart.times
        said.append(f"Compared with {_describe_series(chart.comparison, times, chart)}")
    return " ".join([*said, *describe_moving(chart)])


def describe_moving(chart: ChartOverTime) -> list[str]:
    """Say from when on numbers may still change; nothing where none may."""
    place = chart.first_moving
    if place >= len(chart.times):
        return []
    return [_("From %(time)s on, numbers may still change.", time=describe_time(chart.times[place]))]


def describe_bars(chart: BarChart) -> str:
    """Describe bars: how many, and the first of them with their numbers."""
    return _describe_values(
        format_count(len(chart.bars), "bar"), [(bar.label, bar.value) for bar in chart.bars], chart.unit
    )


def describe_countries(chart: WorldMap) -> str:
    """Describe a map: how many countries, and those with the largest numbers."""
    values = [(country.name, country.value) for country in chart.countries]
    largest = sorted(values, key=lambda each: -float(each[1] or 0))
    return _describe_values(format_count(len(values), "country", "countries"), largest, chart.unit)


def _describe_values(count: str, values: Sequence[tuple[str, Number | None]], unit: Unit | None) -> str:
    if not values:
        return NO_ROWS
    named = [f"{label}: {format_full(value, unit)}" for label, value in values[:_MOST_DESCRIBED]]
    left = len(values) - len(named)
    return f"{count}. {'; '.join(named)}{f'; {left} more' if left else ''}."


def describe_moment(chart: ChartOverTime, place: int) -> str:
    """Say the numbers of one time in full, as a tooltip."""
    numbers = [(each.name, format_full(each.values[place], chart.unit)) for each in chart.series]
    said = [f"{name}: {number}" if len(numbers) > 1 else number for name, number in numbers]
    if isinstance(chart, LineChart) and chart.comparison is not None:
        when = f" ({describe_time(chart.comparison_times[place])})" if chart.comparison_times else ""
        said.append(f"{chart.comparison.name}{when}: {format_full(chart.comparison.values[place], chart.unit)}")
    return f"{describe_time(chart.times[place])}: {', '.join(said)}"


def _describe_series(series: Series, times: Sequence[str], chart: ChartOverTime) -> str:
    numbers = list_numbers(series.values)
    if not numbers:
        return f"{series.name}: no numbers."
    lowest, highest = (pick(numbers, key=lambda each: each[1]) for pick in (min, max))
    extremes = {"lowest": lowest, "highest": highest, "last": numbers[-1]}
    when = "on" if chart.grain <= Grain.DAY else "in"
    said = [
        f"{word} {format_full(value, chart.unit)} {when} {describe_time(times[place])}"
        for word, (place, value) in extremes.items()
    ]
    missing = len(series.values) - len(numbers)
    gaps = f" {format_count(missing, GRAIN_WORDS[chart.grain])} without a number." if missing else ""
    return f"{series.name}: {', '.join(said)}.{gaps}"
