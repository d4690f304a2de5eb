"""The readings of a chart: what a page's script shows of each of its times."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from reelport.charts.amounts import format_full
from reelport.charts.chart_types import (
    ChartOverTime,
    LineChart,
    Number,
    Series,
    SmallMultiples,
    StackedShares,
    name_look,
)
from reelport.charts.sentences import MAY_CHANGE
from reelport.charts.svg import clean_words
from reelport.charts.time_axis import describe_time, find_days
from reelport.language import _, localize

Write = Callable[[Number | None], str]  # writes a number as the tables beside a chart do


def write_readings(chart: ChartOverTime, write: Write | None = None) -> str:
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
        "moving": _(MAY_CHANGE),
        "lines": list(_list_lines(chart, write)),
    }
    return json.dumps(readings, ensure_ascii=False, separators=(",", ":"))


def _list_lines(chart: ChartOverTime, write: Write) -> Iterator[dict[str, object]]:
    for place, series in enumerate(chart.series):
        read = _read_line(series, name_look(0 if isinstance(chart, SmallMultiples) else place), write)
        yield {**read, "texts": list(_write_shares(chart, series, write))} if isinstance(chart, StackedShares) else read
    if isinstance(chart, LineChart) and chart.comparison is not None:
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
