"""Bars of a chart as lines of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.cells import cell_len
from rich.table import Table as Grid
from rich.text import Text

from reelport.charts import Bar, BarChart
from reelport.charts.chart_labels import format_number, isolate, make_label
from reelport.cli.charts.chart_text import cut_to_width

_LEAST_BAR = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


def draw_lines(chart: BarChart, width: int, *, fancy: bool = True) -> Grid:
    """Draw the bars as lines of this width. Long labels are cut, so that columns stay aligned."""
    labels = [make_label(bar.label) for bar in chart.bars]
    numbers = [_format(bar) for bar in chart.bars]
    right = max(map(len, numbers), default=0)
    left = min(max(map(cell_len, labels), default=0), max(width // 3, width - right - 4 - _LEAST_BAR))
    room = max(width - left - right - 4, 8)
    table = Grid.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.title, table.title_justify, table.title_style = chart.heading, "left", "bold"
    table.caption, table.caption_justify = " ".join(chart.notes) or None, "left"
    table.add_column(width=left, no_wrap=True)
    table.add_column(width=room, style="blue")
    table.add_column(width=right, justify="right")
    for label, text, drawn in zip(labels, numbers, _bar_label(chart.bars, room, fancy=fancy), strict=True):
        table.add_row(Text(isolate(cut_to_width(label, left))), Text(drawn), Text(text))
    return table


def _bar_label(bars: Sequence[Bar], room: int, *, fancy: bool) -> list[str]:
    values = [max(float(bar.value or 0), 0) for bar in bars]
    largest = max(values, default=0) or 1
    return [_bar(value / largest * room, fancy=fancy) for value in values]


def _bar(length: float, *, fancy: bool) -> str:
    if not fancy:
        return "#" * max(round(length), 1 if length else 0)
    whole, part = divmod(round(length * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip() or ("▏" if length else "")


def _format(bar: Bar) -> str:
    return format_number(None if bar.value is None else Decimal(str(bar.value)))
