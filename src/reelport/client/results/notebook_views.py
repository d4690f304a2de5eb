"""Render tables as HTML for notebooks; escapes all from outside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import islice

from reelport.catalog import CellType
from reelport.cells import Cell, Column
from reelport.errors import ReelportError
from reelport.wording import format_count

SHOWN_ROWS = 20
_LONGEST = 200  # most characters of one cell to show

# These classes keep notebooks from typesetting text between dollar signs as mathematics.
_CLASS = "dataframe tex2jax_ignore mathjax_ignore"
_NUMBERS = {CellType.INTEGER, CellType.DECIMAL}

# Control characters, and those that change the direction of the text around them.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], count: Callable[[], int | None]) -> str:
    """Render a table's first rows and extent, or the error where they can't be read."""
    try:
        shown, more = list(islice(rows, SHOWN_ROWS)), _describe_extent(len(columns), count())
    except ReelportError as error:
        return f"<p>{_escape(error)}</p>"
    head = "".join(
        f"<th{_format_style(one)}>{_escape(one.name)}<br><small>{one.type.name.lower()}</small></th>" for one in columns
    )
    body = "".join(f"<tr>{''.join(map(_render_cell, columns, row))}</tr>" for row in shown)
    return (
        f'<div style="max-width:100%;overflow-x:auto"><table border="1" class="{_CLASS}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{more}</p></div>"
    )


def _describe_extent(columns: int, rows: int | None) -> str:
    of = format_count(columns, "column")
    if rows is None:
        return f"The first {SHOWN_ROWS} rows of {of}. len(table) counts all rows."
    return f"{format_count(rows, 'row')} of {of}" + (f", the first {SHOWN_ROWS} shown" if rows > SHOWN_ROWS else "")


def _render_cell(column: Column, cell: Cell) -> str:
    return f"<td{_format_style(column, wraps=True)}>{'<i>null</i>' if cell is None else _escape(cell)}</td>"


def _format_style(column: Column, *, wraps: bool = False) -> str:
    flow = "max-width:40em;overflow-wrap:anywhere" if wraps and column.type is CellType.TEXT else "white-space:nowrap"
    return f' style="text-align:{"right" if column.type in _NUMBERS else "left"};{flow}"'


def _escape(value: object) -> str:
    """Escape a value as text, without control characters, shortened to 200 characters."""
    text = _STEERING.sub("\ufffd", str(value))
    return f"<bdi>{escape(text if len(text) <= _LONGEST else text[:_LONGEST] + '…')}</bdi>"
