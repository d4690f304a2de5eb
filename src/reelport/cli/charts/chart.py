"""Bar chart of a report's first metric by its first dimension: terminal, PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reelport.additivity import plan_cell
from reelport.catalog import Dimension, Grain, Metric, Product
from reelport.charts.labels import format_number, isolate, make_label, name_as_heading, name_in_sentence
from reelport.charts.time_axis import GRAIN_WORDS, list_partial
from reelport.cli.charts.chart_bars import (
    Bar,
    Drawing,
    Groups,
    fill_gaps,
    read_groups,
    roll_up,
)
from reelport.cli.charts.chart_text import cut_to_width
from reelport.cli.charts.vega_lite import MOST_BARS_OF_TIME, render, require_renderer
from reelport.client.files.part import Part, resolve_target
from reelport.client.results.tables import Table
from reelport.client.settings.config import expand_path
from reelport.errors import UsageError
from reelport.query import ReportQuery

_FORMATS = (".png", ".svg")
_MOST_NAMES = 20
_MOST_LINES = 62
_LEAST_BAR = 30
_FILTER_WIDTH = 60
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to draw: the query of its report, and the target file, or None for the terminal."""

    query: ReportQuery
    file: Path | None

    def draw(self, report: Path, console: Console) -> None:
        """Draw a downloaded report into the file, or on the console."""
        groups = self.groups(report)
        if self.file is not None:
            content = render(self.fit_picture(groups), self.file.suffix.lower())
            with Part(self.file, "chart") as part:
                part.write(content)
                part.publish(None, b"")
        elif not groups.by_label:
            console.print("The report has no rows to draw.")
        else:
            shown = self.fit(groups, _MOST_LINES)
            console.print(draw_lines(shown, console.width, fancy=console.encoding.startswith("utf")))

    @property
    def metric(self) -> str:
        """The metric that the bars show."""
        return self.query.metrics[0]

    @property
    def dimension(self) -> str:
        """The dimension that labels the bars."""
        return self.query.dimensions[0]

    @property
    def grain(self) -> Grain | None:
        """The time grain of the bars; None where the dimension is no time."""
        row = Dimension.__members__.get(self.dimension)
        return None if row is None else row.grain

    def groups(self, report: Path) -> Groups:
        """Read a report's rows and sum them by label. Raises UsageError for a cell without number."""
        names = tuple(name.lower() for name in self.query.metrics)
        formula = plan_cell(self.query, self.metric)
        return read_groups(Table.of(report, text=[self.dimension]), self.dimension.lower(), names, formula)

    def fit_picture(self, groups: Groups) -> Drawing:
        """Return what a picture shows: the terminal's chart with more times, and with gaps in time."""
        shown = self.fit(groups, MOST_BARS_OF_TIME, filled=True)
        about = f"{_format_days(self.query.start, self.query.end)}, {_name_product(self.query.product)}"
        filters = [f"{name} = {cut_to_width(make_label(value), _FILTER_WIDTH)}" for name, value in self.query.filters]
        return replace(shown, notes=(about, *filters, *shown.notes))

    def fit(self, groups: Groups, most: int, *, filled: bool = False) -> Drawing:
        """Return at most `most` bars: coarser times where they add up, else the last, with a note."""
        if self.grain is None:
            return self._largest(groups)
        grain, rolled = roll_up(groups, self.grain, most, filled=filled)
        heading, bars = f"{name_as_heading(self.metric)} by {GRAIN_WORDS[grain]}", sorted(rolled.bars())
        if filled:
            bars = fill_gaps(bars, grain)
        if len(bars) > most:
            heading, bars = f"{heading}, the last {most} of {len(bars):,}", bars[-most:]
        partial = list_partial([label for label, _ in bars], grain, self.query.start, self.query.end)
        notes = (f"Of {' and '.join(partial)} only a part was asked for.",) if partial else ()
        return Drawing(heading, notes, tuple(bars), _name_unit(self.metric, heading), grain)

    def _largest(self, groups: Groups) -> Drawing:
        bars = sorted(groups.bars(), key=lambda bar: (bar[1] is None, -(bar[1] or 0)))
        what = f"{name_in_sentence(self.metric)} by {name_in_sentence(self.dimension)}"
        heading = f"{name_as_heading(self.metric)} by {name_in_sentence(self.dimension)}"
        if len(bars) > _MOST_NAMES:
            heading = f"Top {_MOST_NAMES} of {len(bars):,}: {what}"
        return Drawing(heading, (), tuple(bars[:_MOST_NAMES]), _name_unit(self.metric, heading), None)


def plan_chart(query: ReportQuery, to: str | None) -> Chart:
    """Plan a query's chart. Raises UsageError, before any request, where it can't be drawn."""
    if not query.metrics or not query.dimensions:
        raise UsageError("--chart draws a metric by a dimension: ask for one of each at least.")
    others = [Dimension.__members__.get(name) for name in query.dimensions[1:]]
    metric = query.metrics[0]
    many = any(row is not None and row.many_valued for row in others)
    if others and (many or plan_cell(query, metric) is None):
        raise UsageError(f"--chart: {metric} doesn't add up over the other dimensions; ask for it "
                         f"by {query.dimensions[0]} alone.")  # fmt: skip
    return Chart(query, None if to is None else check_picture(to))


def check_picture(to: str) -> Path:
    """Resolve a picture's file. UsageError for another kind, or where nothing draws pictures."""
    file = expand_path(to)
    if file.suffix.lower() not in _FORMATS:
        raise UsageError(f"--chart: {to!r} is neither a .png nor a .svg file.")
    file = resolve_target(file)
    require_renderer()
    return file


def draw_lines(drawing: Drawing, width: int, *, fancy: bool = True) -> Grid:
    """Draw the bars as lines of this width. Long labels are cut, so that columns stay aligned."""
    labels = [make_label(label) for label, _ in drawing.bars]
    numbers = [format_number(value) for _, value in drawing.bars]
    right = max(map(len, numbers), default=0)
    left = min(max(map(cell_len, labels), default=0), max(width // 3, width - right - 4 - _LEAST_BAR))
    room = max(width - left - right - 4, 8)
    table = Grid.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.title, table.title_justify, table.title_style = drawing.heading, "left", "bold"
    table.caption, table.caption_justify = " ".join(drawing.notes) or None, "left"
    table.add_column(width=left, no_wrap=True)
    table.add_column(width=room, style="blue")
    table.add_column(width=right, justify="right")
    for label, text, drawn in zip(labels, numbers, _bar_label(drawing.bars, room, fancy=fancy), strict=True):
        table.add_row(Text(isolate(cut_to_width(label, left))), Text(drawn), Text(text))
    return table


def _bar_label(bars: Sequence[Bar], room: int, *, fancy: bool) -> list[str]:
    values = [max(float(value or 0), 0) for _, value in bars]
    largest = max(values, default=0) or 1
    return [_bar(value / largest * room, fancy=fancy) for value in values]


def _bar(length: float, *, fancy: bool) -> str:
    if not fancy:
        return "#" * max(round(length), 1 if length else 0)
    whole, part = divmod(round(length * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip() or ("▏" if length else "")


def _format_days(start: date, end: date) -> str:
    first, last = (f"{day.day} {day:%b} {day.year}" for day in (start, end))
    return f"{first} (UTC)" if start == end else f"{first} to {last} (UTC)"


def _name_product(name: str) -> str:
    row = Product.__members__.get(name)
    return name if row is None else row.phrase


def _name_unit(metric: str, heading: str) -> str | None:
    """Return the unit of a metric; None where the heading names it already."""
    row = Metric.__members__.get(metric)
    return None if row is None or row.unit.value.lower() in heading.lower() else row.unit.value
