"""How the commands for facts show tables, sizes and moments on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reelport.cli.output.listing import listed, printable
from reelport.wording import format_count

if TYPE_CHECKING:
    from reelport.facts.loading.undo import UndoPlan

_KILO = 1000
_FILES_SHOWN = 3


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: as other commands do on a terminal, otherwise columns of plain text."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        listed([dict(zip(names, row, strict=True)) for row in cells], as_json=False)
        return
    lines = [list(names), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_undo_plan(plan: UndoPlan) -> None:
    """Print which load is meant, and what would go and come back of each day."""
    load = plan.load
    files = f" from {' '.join(printable(name) for name in load.sources[:_FILES_SHOWN])}" if load.sources else ""
    loaded = f"{format_count(load.rows, 'row')} loaded at {stamp_text(load.at)}{files}"
    print(f"{load.table}: batch {printable(load.batch)}, {loaded}")
    rows = [[str(one.day or "all rows"), f"{one.removed:,}", f"{one.restored:,}"] for one in plan.days]
    if len(rows) > 1:
        totals = (sum(one.removed for one in plan.days), sum(one.restored for one in plan.days))
        rows.append(["total", *(f"{total:,}" for total in totals)])
    print_rows(["day", "rows removed", "rows restored"], rows)


def stamp_text(moment: datetime | None) -> str:
    """A moment for people, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment else ""


def size_text(size: int) -> str:
    """A number of bytes for people."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _KILO:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} TB"
