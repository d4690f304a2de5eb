"""Chart of a report's first metric by its first dimension: bars in the terminal, SVG, PNG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reelport.charts.chart_types import Bar, BarChart
from reelport.charts.drawing import draw_file, explain_absence, render_png
from reelport.charts.report_chart import (
    ChartPlan,
    Formula,
    Groups,
    Key,
    NoChart,
    Number,
    find_grain,
    list_places,
    make_group,
    make_label,
    plan_chart_by,
)
from reelport.charts.svg import isolate
from reelport.charts.time_axis import describe_partial
from reelport.client.files.download_target import resolve_target
from reelport.client.files.part import Part
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
            chart = self.plan.draw(groups)
            content = draw_file(chart).encode() if self.file.suffix.lower() == ".svg" else render_png(chart)
            with Part(self.file, "chart") as part:
                part.write(content)
                part.publish(None, b"")
        elif not groups:
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
        if plan.time is None:
            return plan.draw_largest(groups)
        times = plan.fit_times(groups, most, filled=False)
        values = {key[0]: value for key, value in plan.list_values(times.groups)}
        bars = tuple(Bar(label, values[label]) for label in times.labels)
        notes = describe_partial(times.labels, times.grain, plan.query.start, plan.query.end)
        return BarChart(plan.head_times(times), bars, plan.unit, notes=notes)


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


def read_groups(
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    keys: Sequence[str],
    metrics: Sequence[str],
    formula: Formula,
) -> Groups:
    """Sum rows by key columns, for the first of the metrics. Names are columns of the CSV.

    Raises UsageError for a missing column, a cell that is no number, and several rows of a key that don't add up.
    """
    needed = [metrics[0], *(metrics[place] for place in list_places(formula))]
    key_places = [_find_column(names, name) for name in keys]
    places = [_find_column(names, name) for name in needed]
    found: dict[Key, list[Number | None]] = {}
    counts: Counter[Key] = Counter()
    for row in rows:
        key = tuple([str(row[place] or "") for place in key_places])
        counts[key] += 1
        own, *parts = [_read_number(row[place]) for place in places]
        sums = found.setdefault(key, [0] * len(places))
        sums[0] = own
        for place, part in enumerate(parts, start=1):
            sums[place] = (sums[place] or 0) + (part or 0)
    if formula is None and found and (several := counts.most_common(1)[0])[1] > 1:
        label = ", ".join(several[0])[:80]
        raise UsageError(f"there are several rows of {label!r}, and {metrics[0]} doesn't add up.")
    return {key: make_group(counts[key], *sums) for key, sums in found.items()}


def _find_column(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise UsageError(f"the report has no column {name}, but {', '.join(names)[:300]}.")
    return names.index(name)


def _read_number(cell: object) -> Number | None:
    if isinstance(cell, int | Decimal):
        return cell
    try:
        number = Decimal(str(cell)) if cell else None
    except InvalidOperation:
        number = Decimal("NaN")
    if number is not None and not number.is_finite():
        raise UsageError(f"{str(cell)[:80]!r} is no number to draw.")
    return number


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


def format_number(value: Decimal | float | None) -> str:
    """Format a number for people: 1,234,567 or 0.42; a dash for None."""
    if value is None:
        return "-"
    whole = value == int(value) or not -1000 < value < 1000  # noqa: PLR2004 - a grand
    return f"{value:,.0f}" if whole else f"{value:,.2f}"


def _bar(length: float, *, fancy: bool) -> str:
    if not fancy:
        return "#" * max(round(length), 1 if length else 0)
    whole, part = divmod(round(length * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip() or ("▏" if length else "")


def cut_to_width(text: str, width: int) -> str:
    """Cut a text to at most `width` terminal columns, with an ellipsis where it was longer."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
