"""Chart of a report's first metric by its first dimension: bars in the terminal, SVG, PNG."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reelport.charts.chart_labels import format_number, isolate, make_label
from reelport.charts.chart_types import Bar, BarChart, Chart
from reelport.charts.drawing import draw_file, explain_absence, render_png
from reelport.charts.report_chart import (
    ChartPlan,
    Groups,
    NoChart,
    draw_largest,
    find_grain,
    fit_times,
    head_times,
    plan_chart_by,
    read_groups,
)
from reelport.client.files.part import Part, resolve_target
from reelport.client.results.tables import Table
from reelport.client.settings.config import expand_path
from reelport.errors import UsageError
from reelport.query import ReportQuery

_FORMATS = (".png", ".svg")
_MOST_LINES = 62


@dataclass(frozen=True, slots=True)
class ChartOutput:
    """A chart to draw: the plan of it, and the target file, or None for the terminal."""

    plan: ChartPlan
    file: Path | None

    def draw(self, report: Path, console: Console) -> None:
        """Draw a downloaded report into the file, or on the console."""
        groups = self.groups(report)
        if self.file is not None:
            content = render(self.plan.draw(groups), self.file.suffix.lower())
            with Part(self.file, "chart") as part:
                part.write(content)
                part.publish(None, b"")
        elif not groups.by_key:
            console.print("The report has no rows to draw.")
        else:
            console.print(draw_lines(self.fit(groups), console.width, fancy=console.encoding.startswith("utf")))

    def groups(self, report: Path) -> Groups:
        """Read a report's rows and sum them by label. Raises UsageError for a cell without number."""
        dimension, metrics = self.plan.keys[0], [name.lower() for name in self.plan.query.metrics]
        table = Table.of(report, text=[self.plan.query.dimensions[0]])
        names = [column.name for column in table.columns]
        try:
            return read_groups(names, table.tuples(), [dimension], metrics, self.plan.formula)
        except UsageError as error:
            raise UsageError(f"--chart: {error}") from error

    def fit(self, groups: Groups, most: int = _MOST_LINES) -> BarChart:
        """Return at most `most` bars: coarser times where they add up, else the last, with a note."""
        plan = self.plan
        grain = find_grain(plan.time)
        if grain is None:
            return draw_largest(groups, plan.metric, plan.category or "")
        times = fit_times(groups, grain, most, filled=False)
        values = {key[0]: value for key, value in times.groups.list_values()}
        bars = tuple(Bar(label, values[label]) for label in times.labels)
        notes = times.list_notes(plan.query.start, plan.query.end)
        return BarChart(head_times(plan.metric, times), bars, plan.unit, notes=notes)


def plan_chart(query: ReportQuery, to: str | None) -> ChartOutput:
    """Plan a query's chart. Raises UsageError, before any request, where it can't be drawn."""
    if not query.metrics or not query.dimensions:
        raise UsageError("--chart draws a metric by a dimension: ask for one of each at least.")
    first, *others = query.dimensions
    time, category = (None, first) if find_grain(first) is None else (first, None)
    plan = plan_chart_by(query, time, category, others)
    if isinstance(plan, NoChart):
        raise UsageError(f"--chart: {plan.reason}")
    return ChartOutput(plan, None if to is None else check_picture(to))


def check_picture(to: str) -> Path:
    """Resolve a picture's file. UsageError for another kind, or where nothing draws PNG."""
    file = expand_path(to)
    if file.suffix.lower() not in _FORMATS:
        raise UsageError(f"--chart: {to!r} is neither a .png nor a .svg file.")
    file = resolve_target(file)
    if file.suffix.lower() == ".png" and (lacking := explain_absence()) is not None:
        raise UsageError(f"{lacking} One as SVG (--chart FILE.svg) needs none.")
    return file


def render(chart: Chart, suffix: str) -> bytes:
    """Render a PNG or SVG file. Fetches nothing. A viewer shows an SVG in its own fonts."""
    return draw_file(chart).encode() if suffix == ".svg" else render_png(chart)


_LEAST_BAR = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


def draw_lines(chart: BarChart, width: int, *, fancy: bool = True) -> Grid:
    """Draw the bars as lines of this width. Long labels are cut, so that columns stay aligned."""
    labels = [make_label(bar.label) for bar in chart.bars]
    numbers = [format_number(None if bar.value is None else Decimal(str(bar.value))) for bar in chart.bars]
    right = max(map(len, numbers), default=0)
    left = min(max(map(cell_len, labels), default=0), max(width // 3, width - right - 4 - _LEAST_BAR))
    room = max(width - left - right - 4, 8)
    table = Grid.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.title, table.title_justify, table.title_style = chart.heading, "left", "bold"
    table.caption, table.caption_justify = " ".join(chart.notes) or None, "left"
    table.add_column(width=left, no_wrap=True)
    table.add_column(width=room, style="blue")
    table.add_column(width=right, justify="right")
    values = [max(float(bar.value or 0), 0) for bar in chart.bars]
    largest = max(values, default=0) or 1
    for label, text, value in zip(labels, numbers, values, strict=True):
        bar = _bar(value / largest * room, fancy=fancy)
        table.add_row(Text(isolate(cut_to_width(label, left))), Text(bar), Text(text))
    return table


def _bar(length: float, *, fancy: bool) -> str:
    if not fancy:
        return "#" * max(round(length), 1 if length else 0)
    whole, part = divmod(round(length * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip() or ("▏" if length else "")


def cut_to_width(text: str, width: int) -> str:
    """Cut a text to at most `width` terminal columns, with an ellipsis where it was longer."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
