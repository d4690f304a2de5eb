"""Bar charts of a report: its first metric by its first dimension, in the terminal or as a PNG or SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reelport.catalog import Dimension, Metric
from reelport.cli.terminal_text import plain
from reelport.client.files.part import checked_target, storage
from reelport.client.results.tables import Table
from reelport.client.settings.config import expand_path
from reelport.errors import UsageError
from reelport.query import ReportQuery

_FORMATS = (".png", ".svg")
_MOST_BARS = 20
_MOST_TIMES = 62
_EIGHTHS = " ▏▎▍▌▋▊▉"
_EMPTY = "(empty)"
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
        """Draw a downloaded report into the file, or on the console."""
        bars = self.bars(report)
        if self.file is not None:
            picture = render(self.spec(bars), self.file.suffix.lower())
            with storage(self.file):
                self.file.write_bytes(picture)
        elif not bars:
            console.print("The report has no rows to draw.")
        else:
            title, shown = self.fitting(bars)
            console.print(terminal(title, shown, console.width, fancy=console.encoding.startswith("utf")))

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
        """All bars: in order of time, or the largest first."""
        totals = _totals(Table.of(report, text=[self.dimension]), self.dimension.lower(), self.metric.lower())
        return sorted(totals.items(), key=None if self.timed else lambda bar: -bar[1])

    def fitting(self, bars: list[Bar]) -> tuple[str, list[Bar]]:
        """The title and as many bars as a terminal can show: months for days that add up, else a part that is named."""
        if not self.timed:
            return self._largest(bars)
        if len(bars) <= _MOST_TIMES:
            return self.title, bars
        months = _by_month(bars) if _additive(self.metric) else []
        if 1 < len(months) <= _MOST_TIMES:
            return f"{self.title}, shown by month", months
        return f"{self.title}, the last {_MOST_TIMES} of {len(bars):,}", bars[-_MOST_TIMES:]

    def _largest(self, bars: list[Bar]) -> tuple[str, list[Bar]]:
        if len(bars) <= _MOST_BARS:
            return self.title, bars
        return f"{self.title}, the first {_MOST_BARS} of {len(bars):,}", bars[:_MOST_BARS]

    def spec(self, bars: Sequence[Bar]) -> dict[str, Any]:
        """The chart in Vega-Lite's words."""
        title, bars = (self.title, bars) if self.timed else self._largest(list(bars))
        height = {
            "field": "value",
            "type": "quantitative",
            "title": words(self.metric),
            "axis": {"labelExpr": _NUMBERS, "grid": True, "tickCount": 5},
        }
        across = {"field": "label", "type": "ordinal", "sort": None}
        if self.timed:
            labels = [label for label, _ in bars]
            axis = {"labelAngle": 0, "values": _every(labels, 8), "labelExpr": _DATES, "labelOverlap": True}
            encoding = {"x": across | {"axis": axis, "title": words(self.dimension)}, "y": height}
            extent: dict[str, Any] = {"width": 720, "height": 320}
        else:
            encoding = {"y": across | {"axis": {"labelLimit": 320, "title": None}}, "x": height}
            extent = {"width": 560, "height": {"step": 22}}
        return {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "background": "white",
            "padding": 20,
            "title": {"text": title, "subtitle": self.subtitle, "anchor": "start", "offset": 16},
            "data": {"values": [{"label": label or _EMPTY, "value": value} for label, value in bars]},
            "mark": {"type": "bar", "color": "#2563eb", "cornerRadiusEnd": 2},
            "encoding": encoding,
            "config": _LOOK,
            **extent,
        }


_DATES = (
    "length(datum.label) == 10 ? timeFormat(toDate(datum.label + 'T00:00:00'), '%-d %b') :"
    " length(datum.label) == 7 ? timeFormat(toDate(datum.label + '-01T00:00:00'), '%b %Y') : datum.label"
)
_NUMBERS = "abs(datum.value) >= 1000 ? replace(format(datum.value, '.3~s'), 'G', 'B') : format(datum.value, ',.4~f')"
_LOOK: dict[str, Any] = {
    "font": "DejaVu Sans, Liberation Sans, Arial, Noto Color Emoji, sans-serif",
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
    file = None if to is None else expand_path(to)
    if file is not None and file.suffix.lower() not in _FORMATS:
        raise UsageError(f"--chart: {to!r} is neither a .png nor a .svg file.")
    if file is not None:
        file = checked_target(file)
        _require_renderer()
    subtitle = f"{query.start:%-d %b %Y} to {query.end:%-d %b %Y}, {query.product}"
    return Chart(metric, query.dimensions[0], subtitle, file)


def terminal(title: str, bars: Sequence[Bar], width: int, *, fancy: bool = True) -> Grid:
    """The bars as lines of a terminal of this width."""
    labels = [" ".join(label.split()) or _EMPTY for label, _ in bars]
    numbers = [number(value) for _, value in bars]
    left = min(max(map(cell_len, labels), default=0), width // 3)
    right = max(map(len, numbers), default=0)
    room = max(width - left - right - 4, 8)
    largest = max((value for _, value in bars), default=0) or 1
    table = Grid.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.title, table.title_justify, table.title_style = title, "left", "bold"
    table.add_column(width=left)
    table.add_column(width=room, style="blue")
    table.add_column(width=right, justify="right")
    for label, (_, value), text in zip(labels, bars, numbers, strict=True):
        drawn = _bar(max(value, 0) / largest * room, fancy=fancy)
        table.add_row(Text(label, no_wrap=True, overflow="ellipsis"), Text(drawn), Text(text))
    return table


def render(spec: dict[str, Any], suffix: str) -> bytes:
    """The bytes of a PNG or SVG file; nothing is fetched."""
    _require_renderer()
    import vl_convert

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
    from importlib.util import find_spec

    if find_spec("vl_convert") is None:
        raise UsageError("A chart as a file needs an extra: pip install 'reelport[charts]'")


def _totals(rows: Table, dimension: str, metric: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for row in rows.rows():
        label, value = plain(str(row[dimension] or "")), row[metric]
        totals[label] = totals.get(label, 0.0) + float(str(value or 0))
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
