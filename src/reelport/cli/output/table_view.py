"""Show the first rows of a report as a table that fits the terminal."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from itertools import islice

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from reelport.catalog import CellType
from reelport.cells import Cell
from reelport.cli.output.listing import format_moment
from reelport.client.results.tables import Table
from reelport.wording import clean_line

_SHOWN = 100  # rows that a table shows at most
_WIDE = 100_000  # width in characters where there is no terminal
_LEAST = 12  # characters that a longer text gets at least, even where the terminal is too narrow


def print_table(console: Console, table: Table, rows: int, most: int = _SHOWN, *, wraps: bool = False) -> None:
    """Print the first rows of a table, and the number of all rows where there are more.

    Long texts are cut in a terminal and whole in a pipe. With `wraps` they are whole in the console's own width.
    """
    shape, least = _draw_table(table, most, wraps=wraps)
    before = console.width
    console.width = max(before, least) if console.is_terminal or wraps else _WIDE
    console.print(shape, crop=False)
    console.width = before
    if rows > most:
        console.print(f"The first {most} of {rows:,} rows; --format csv gives them all.")


def _draw_table(table: Table, most: int, *, wraps: bool) -> tuple[Drawn, int]:
    shape = Drawn(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    shown = [tuple(_format_cell(cell) for cell in row) for row in islice(table.tuples(), most)]
    least = 3 * len(table.columns)
    for place, column in enumerate(table.columns):
        title = clean_line(column.name.replace("_", " "))
        whole = max(map(cell_len, (*title.split(), *(row[place] for row in shown))))
        fixed = None if column.type is CellType.TEXT else whole
        is_number = column.type in {CellType.INTEGER, CellType.DECIMAL}
        shape.add_column(title, justify="right" if is_number else "left", width=fixed, overflow="fold")
        least += fixed or min(whole, _LEAST)
    is_cut = [column.type is CellType.TEXT and not wraps for column in table.columns]
    for row in shown:
        cells = zip(row, is_cut, strict=True)
        shape.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") if cut else Text(cell) for cell, cut in cells))
    return shape, least


def _format_cell(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return clean_line(cell)
        case int() | Decimal():
            return f"{cell:,}"
        case datetime():
            return format_moment(cell)
        case date():
            return cell.isoformat()
