"""How commands of the platform print what they found: a table for people, lines for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime


def listed(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows of the same fields: with `as_json` one JSON list; a table on a terminal; else tab-separated lines."""
    if as_json:
        told(list(rows))
    elif sys.stdout.isatty():
        _table(rows)
    else:
        for row in [list(rows[0]), *(list(map(plain, row.values())) for row in rows)] if rows else []:
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


def _table(rows: Sequence[Mapping[str, object]]) -> None:
    # Imported here: a pipe need not wait for it.
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else []:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(value)) for value in row.values()))
    Console().print(table if rows else Text("Nothing yet.", style="dim"))
