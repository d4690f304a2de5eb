"""Rows as a table for eyes: as many as can be taken in, within the width of a terminal where there is one."""

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
from reelport.cli.output.terminal_text import plain
from reelport.client.results.tables import Cell, Column, Table

_SHOWN = 100
"""Rows that a table shows: it is for eyes, and says what it leaves out."""

_WIDE = 100_000
"""Columns of text where there is no terminal to fit into."""

_LEAST = 12
"""Columns of text that a longer text gets at least, be the terminal too narrow."""


def show(console: Console, table: Table, rows: int) -> None:
    """Print the first of so many rows; how many there are in all where that is more."""
    shape, least = _drawn(table)
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    console.print(shape, crop=False)
    if rows > _SHOWN:
        console.print(f"The first {_SHOWN} of {rows:,} rows; --format csv gives them all.")


def moment(time: datetime) -> str:
    """A time as the wire writes it."""
    return time.isoformat().replace("+00:00", "Z")


def _drawn(table: Table) -> tuple[Drawn, int]:
    """The first rows as a table for eyes, and the least columns of text that it takes.

    Long texts are cut short, numbers and days never.
    """
    shape = Drawn(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    shown = [tuple(_shown(cell) for cell in row) for row in islice(table.tuples(), _SHOWN)]
    least = 3 * len(table.columns)
    for place, column in enumerate(table.columns):
        title = plain(column.name.replace("_", " "))
        whole = max(map(cell_len, (*title.split(), *(row[place] for row in shown))))
        fixed = None if column.type is CellType.TEXT else whole
        shape.add_column(title, justify="right" if _is_number(column) else "left", width=fixed, overflow="fold")
        least += fixed or min(whole, _LEAST)
    for row in shown:
        shape.add_row(*(_fitted(cell, column) for cell, column in zip(row, table.columns, strict=True)))
    return shape, least


def _fitted(cell: str, column: Column) -> Text:
    return Text(cell, no_wrap=True, overflow="ellipsis") if column.type is CellType.TEXT else Text(cell)


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return plain(cell)
        case int() | Decimal():
            return f"{cell:,}"
        case datetime():
            return moment(cell)
        case date():
            return cell.isoformat()


def _is_number(column: Column) -> bool:
    return column.type in {CellType.INTEGER, CellType.DECIMAL}
