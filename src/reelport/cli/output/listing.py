"""How commands of the platform print what they found: a table for people, lines for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_LONG_WORD = 20
"""Letters beyond which a word, such as a path, may be broken in a table."""

_GAP = 2


def listed(rows: Sequence[Mapping[str, object]], *, as_json: bool, none: str = "There is nothing to list.") -> None:
    """Print rows of the same fields: with `as_json` one JSON list; a table on a terminal; else tab-separated lines.

    Where there are no rows to print, `none` is said on stderr: stdout is for data.
    """
    if as_json:
        told(list(rows))
    elif not rows:
        print(none, file=sys.stderr)
    elif sys.stdout.isatty():
        _table(rows)
    else:
        for row in [list(rows[0]), *(list(map(plain, row.values())) for row in rows)]:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))


def described(fields: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing, a field a line, or as one JSON object."""
    if as_json:
        told(fields)
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        print(f"{name:<{width}}  {plain(value)}")


def told(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, default=plain, ensure_ascii=False, indent=2))


def plain(value: object) -> str:
    """A value in words: times of UTC without fractions, lists by commas, nothing for None."""
    match value:
        case None:
            return ""
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case list() | tuple() | set() | frozenset():
            return ",".join(plain(each) for each in value)
        case Mapping():
            return json.dumps(dict(value), default=plain, ensure_ascii=False)
        case _:
            return str(value)


def printable(text: str) -> str:
    """The text without characters that move the cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _table(rows: Sequence[Mapping[str, object]]) -> None:
    from rich.console import Console

    texts = [{name: printable(plain(value)) for name, value in row.items()} for row in rows]
    console = Console()
    console.print(_wide(texts) if _needed(texts) <= console.width else _narrow(texts))


def _wide(rows: Sequence[Mapping[str, str]]) -> Table:
    """A line a row."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    return table


def _narrow(rows: Sequence[Mapping[str, str]]) -> Table:
    """A line a field, and rows below each other."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for number, row in enumerate(rows):
        if number:
            grid.add_row()
        for name, text in row.items():
            if text:
                grid.add_row(name, Text(text))
    return grid


def _needed(rows: Sequence[Mapping[str, str]]) -> int:
    """The columns of a terminal below which a table is hard to read: its words break, if they are not long anyway."""
    words = [[word for text in (name, *(row[name] for row in rows)) for word in text.split()] for name in rows[0]]
    return sum(min(max(map(len, each), default=0), _LONG_WORD) + _GAP for each in words)
