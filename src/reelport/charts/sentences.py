"""What a chart shows, in words: for who does not see it, and for a page's crosshair."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from reelport.charts.amounts import format_full, list_numbers
from reelport.charts.chart_types import (
    Chart,
    LineChart,
    Number,
    Series,
    StackedShares,
    WorldMap,
    name_look,
)
from reelport.charts.svg import clean_words
from reelport.charts.time_axis import describe_time, find_days
from reelport.language import N_, _, localize, ngettext

Write = Callable[[Number | None], str]  # writes a number as the tables beside a chart do
_MAY_CHANGE = N_("may still change")
_MOST_DESCRIBED = 6  # series or bars that a description names


def describe_chart(chart: Chart) -> str:
    """Describe a chart: what it is of, and its extremes, or its first or largest numbers."""
    if not chart.numbers:
        has_rows = chart.times if isinstance(chart, LineChart) else chart.bars
        return _("There is no number to draw.") if has_rows else _("The report has no rows to draw.")
    if isinstance(chart, LineChart):
        return _describe_lines(chart)
    bars, many = list(chart.bars), len(chart.bars)
    if isinstance(chart, WorldMap):
        bars.sort(key=lambda each: -float(each.value or 0))
    named = [f"{bar.label}: {format_full(bar.value, chart.unit)}" for bar in bars[:_MOST_DESCRIBED]]
    if many > len(named):
        named.append(_("%(count)s more", count=many - len(named)))
    is_map = isinstance(chart, WorldMap)
    count = ngettext("%(n)s country", "%(n)s countries", many) if is_map else ngettext("%(n)s bar", "%(n)s bars", many)
    return f"{count}. {'; '.join(named)}."


def _describe_lines(chart: LineChart) -> str:
    """Describe lines over time: their range, and the lowest, highest and last number of each."""
    first, last = describe_time(chart.times[0]), describe_time(chart.times[-1])
    said = [_("%(first)s to %(last)s.", first=first, last=last)]
    said += [_describe_series(each, chart.times, chart) for each in chart.series[:_MOST_DESCRIBED]]
    if (left := len(chart.series) - _MOST_DESCRIBED) > 0:
        said.append(ngettext("%(n)s more line.", "%(n)s more lines.", left))
    if chart.comparison is not None:
        times = chart.comparison_times or chart.times
        said.append(_("Compared with %(line)s", line=_describe_series(chart.comparison, times, chart)))
    return " ".join([*said, *describe_moving(chart)])


def describe_moving(chart: LineChart) -> list[str]:
    """Say from when on numbers may still change; nothing where none may."""
    place = chart.first_moving
    if place >= len(chart.times) or not chart.numbers:
        return []
    return [_("From %(time)s on, numbers may still change.", time=describe_time(chart.times[place]))]


def _describe_series(series: Series, times: Sequence[str], chart: LineChart) -> str:
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
    every, missing = len(series.values), len(series.values) - len(numbers)
    gaps = _("Missing: %(missing)s of %(every)s.", missing=missing, every=every)
    return f"{said} {gaps}" if missing else said


def write_readings(chart: LineChart, write: Write | None = None) -> str:
    """Write the readings of a chart as JSON, for the attribute `data-readings` of its figure.

    `times` are in words, `days` the first day of each, and `lasts` the last one where that is another. `lines` have a
    name, a look, and for each time a text and a number; a compared line has `times` of its own. From the place
    `settled` on the words `moving` are true.
    """
    write = write or partial(format_full, unit=chart.unit)
    days = [find_days(label, chart.grain) or ("", "") for label in chart.times]
    firsts, lasts = ([pair[end] for pair in days] for end in (0, 1))
    readings = {
        "times": _describe_times(chart.times),
        "days": firsts,
        **({} if firsts == lasts else {"lasts": lasts}),
        "settled": chart.first_moving,
        "moving": _(_MAY_CHANGE),
        "lines": list(_list_lines(chart, write)),
    }
    return json.dumps(readings, ensure_ascii=False, separators=(",", ":"))


def _list_lines(chart: LineChart, write: Write) -> Iterator[dict[str, object]]:
    for place, series in enumerate(chart.series):
        read = _read_line(series, name_look(place), write)
        yield {**read, "texts": list(_write_shares(chart, series, write))} if isinstance(chart, StackedShares) else read
    if chart.comparison is not None:
        earlier = _read_line(chart.comparison, "chart-earlier", write)
        yield {**earlier, "times": _describe_times(chart.comparison_times)}


def _write_shares(chart: StackedShares, series: Series, write: Write) -> Iterator[str]:
    for value, whole in zip(series.values, chart.wholes, strict=True):
        share = f" ({localize(f'{float(value) / float(whole):.1%}')})" if value is not None and whole else ""
        yield f"{write(value)}{share}"


def _describe_times(labels: Iterable[str]) -> list[str]:
    return [clean_words(describe_time(label)) for label in labels]


def _read_line(series: Series, look: str, write: Write) -> dict[str, object]:
    values = [value if value is None or isinstance(value, int) else float(value) for value in series.values]
    return {
        "name": clean_words(series.name),
        "look": look,
        "texts": [write(value) for value in series.values],
        "values": values,
    }
