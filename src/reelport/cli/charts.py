"""Bar charts of a report: its first metric by its first dimension, in the terminal or as a PNG or SVG file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reelport.catalog import Dimension, Metric
from reelport.client.part import storage
from reelport.errors import UsageError
from reelport.query import ReportQuery

_FORMATS = (".png", ".svg")
_MOST_BARS = 20
_MOST_TIMES = 62
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MONTH = len("2023-07")

Bar = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart to be: what is drawn by what, and the file it goes to, or None for the terminal."""

    metric: str
    dimension: str
    subtitle: str
    file: Path | None

    def draw(self, report: Path, console: Console) -> None:
        """Draw a downloaded report."""
        bars = self.bars(report)
        if self.file is None:
            title, bars = self.fitting(bars)
            console.print(terminal(title, bars, console.width, fancy=console.encoding.startswith("utf")))
            return
        picture = render(self.spec(bars), self.file.suffix.lower())
        with storage(self.file):
            self.file.write_bytes(picture)
        console.print(f"chart: {self.file}", markup=False)

    @property
    def title(self) -> str:
        """What the chart shows, in words."""
        return f"{words(self.metric)} by {words(self.dimension).lower()}"

    @property
    def timed(self) -> bool:
        """Whether the bars follow each other in time."""
        row = Dimension.__members__.get(self.dimension)
        return row is not None and row.grain is not None

    def bars(self, report: Path) -> list[Bar]:
        """The bars: in order of time, or the largest first, the rest of them as one where they add up."""
        with report.open(newline="", encoding="utf-8") as file:
            totals = _totals(csv.DictReader(file), self.dimension.lower(), self.metric.lower())
        if self.timed:
            return sorted(totals.items())
        bars = sorted(totals.items(), key=lambda bar: -bar[1])
        rest = bars[_MOST_BARS:]
        if len(rest) > 1 and _additive(self.metric):
            bars[_MOST_BARS:] = [(f"{len(rest):,} others", sum(value for _, value in rest))]
        return bars[: _MOST_BARS + 1]

    def fitting(self, bars: list[Bar]) -> tuple[str, list[Bar]]:
        """The title and as many bars as a terminal can show: months for days that add up, else the latest ones."""
        if not self.timed or len(bars) <= _MOST_TIMES:
            return self.title, bars
        months = _by_month(bars) if _additive(self.metric) else []
        if 1 < len(months) <= _MOST_TIMES:
            return f"{self.title}, shown by month", months
        return f"{self.title}, the last {_MOST_TIMES} of {len(bars):,}", bars[-_MOST_TIMES:]

    def spec(self, bars: Sequence[Bar]) -> dict[str, Any]:
        """The chart in Vega-Lite's words."""
        value = {
            "field": "value",
            "type": "quantitative",
            "title": words(self.metric),
            "axis": {"format": "~s", "grid": True, "tickCount": 5},
        }
        across = {"field": "label", "type": "ordinal", "sort": None, "title": words(self.dimension)}
        if self.timed:
            labels = [label for label, _ in bars]
            axis = {"labelAngle": 0, "values": _every(labels, 8), "labelExpr": _DATES, "labelOverlap": True}
            encoding = {"x": across | {"axis": axis}, "y": value}
            extent: dict[str, Any] = {"width": 720, "height": 320}
        else:
            encoding = {"y": across | {"axis": {"labelLimit": 260}}, "x": value}
            extent = {"width": 560, "height": {"step": 22}}
        return {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "background": "white",
            "padding": 20,
            "title": {"text": self.title, "subtitle": self.subtitle, "anchor": "start", "offset": 16},
            "data": {"values": [{"label": label or "(empty)", "value": number} for label, number in bars]},
            "mark": {"type": "bar", "color": "#2563eb", "cornerRadiusEnd": 2},
            "encoding": encoding,
            "config": _LOOK,
            **extent,
        }


_DATES = (
    "length(datum.label) == 10 ? timeFormat(toDate(datum.label + 'T00:00:00'), '%-d %b') :"
    " length(datum.label) == 7 ? timeFormat(toDate(datum.label + '-01T00:00:00'), '%b %Y') : datum.label"
)
_LOOK: dict[str, Any] = {
    "font": "DejaVu Sans, Liberation Sans, Arial, sans-serif",
    "title": {"fontSize": 18, "subtitleFontSize": 12, "subtitleColor": "#6b7280", "subtitlePadding": 6},
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleColor": "#374151",
        "labelColor": "#374151",
        "gridColor": "#e5e7eb",
        "domainColor": "#9ca3af",
        "tickColor": "#9ca3af",
        "titlePadding": 10,
    },
    "axisBand": {"grid": False},
    "view": {"stroke": None},
}


def chart_of(query: ReportQuery, to: str | None) -> Chart:
    """The chart that a query's report can be drawn as. Raises UsageError, before anything is asked, when it can't."""
    if not query.metrics or not query.dimensions:
        raise UsageError("--chart draws a metric by a dimension: ask for one of each at least.")
    others = [Dimension.__members__.get(name) for name in query.dimensions[1:]]
    metric = query.metrics[0]
    if others and (not _additive(metric) or any(row is not None and row.many_valued for row in others)):
        raise UsageError(f"--chart: {metric} doesn't add up over the other dimensions; ask for it "
                         f"by {query.dimensions[0]} alone.")  # fmt: skip
    file = None if to is None else Path(to).expanduser()
    if file is not None and file.suffix.lower() not in _FORMATS:
        raise UsageError(f"--chart: {to!r} is neither a .png nor a .svg file.")
    if file is not None:
        _require_renderer()
    subtitle = f"{query.start:%-d %b %Y} to {query.end:%-d %b %Y}, {query.product}"
    return Chart(metric, query.dimensions[0], subtitle, file)


def terminal(title: str, bars: Sequence[Bar], width: int, *, fancy: bool = True) -> Table:
    """The bars as lines of a terminal of this width."""
    labels = [_shortened(label or "(empty)", max(width // 3, 10)) for label, _ in bars]
    numbers = [number(value) for _, value in bars]
    room = max(width - max(map(len, labels), default=0) - max(map(len, numbers), default=0) - 4, 8)
    largest = max((value for _, value in bars), default=0) or 1
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2, 0, 0)
    )
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=room)
    table.add_column(no_wrap=True, justify="right")
    for label, (_, value), text in zip(labels, bars, numbers, strict=True):
        table.add_row(Text(label), Text(_bar(max(value, 0) / largest * room, fancy=fancy), style="blue"), Text(text))
    return table


def render(spec: dict[str, Any], suffix: str) -> bytes:
    """The bytes of a PNG or SVG file; nothing is fetched."""
    _require_renderer()
    import vl_convert  # noqa: PLC0415 - only a chart pays for it

    if suffix == ".svg":
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))


def number(value: float) -> str:
    """A number for people: 1,234,567 or 0.42."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.2f}"  # noqa: PLR2004 - a grand


def words(name: str) -> str:
    """A name of the wire as words: Time watched seconds."""
    text = name.replace("_", " ").capitalize()
    for currency in ("EUR", "USD"):
        text = text.replace(currency.lower(), currency)
    return text


def _require_renderer() -> None:
    from importlib.util import find_spec  # noqa: PLC0415 - only a chart pays for it

    if find_spec("vl_convert") is None:
        raise UsageError("A chart as a file needs an extra: pip install 'reelport[charts]'")


def _totals(rows: Iterable[dict[str, str]], dimension: str, metric: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for row in rows:
        label = row[dimension]
        totals[label] = totals.get(label, 0.0) + float(row[metric] or 0)
    return totals


def _by_month(bars: Sequence[Bar]) -> list[Bar]:
    months: dict[str, float] = {}
    for label, value in bars:
        months[label[:_MONTH]] = months.get(label[:_MONTH], 0.0) + value
    return list(months.items())


def _additive(metric: str) -> bool:
    row = Metric.__members__.get(metric)
    return row is not None and row.additive


def _every(labels: list[str], about: int) -> list[str]:
    """Every so many-th label, about as many as fit."""
    return labels[:: max(1, -(-len(labels) // about))]


def _bar(length: float, *, fancy: bool) -> str:
    if not fancy:
        return "#" * max(round(length), 1 if length else 0)
    whole, part = divmod(round(length * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip() or ("▏" if length else "")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
