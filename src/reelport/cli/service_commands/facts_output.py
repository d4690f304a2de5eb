"""Format tables, sizes and times for the commands that handle facts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from reelport.cli.output.listing import print_list
from reelport.wording import clean_line, format_count

if TYPE_CHECKING:
    from reelport.facts.loading.undo import UndoPlan
    from reelport.facts.log.history import Load

_FILES_SHOWN = 3
_MISSING_SHOWN = 3


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: on a terminal as other commands do, otherwise as aligned plain text."""
    cells = [[clean_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        print_list([dict(zip(names, row, strict=True)) for row in cells], as_json=False)
        return
    lines = [list(names), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def describe_missing_days(days: Sequence[date]) -> str:
    """Say which days lack their rows, what that means and what to do."""
    more = f" and {len(days) - _MISSING_SHOWN} more" if len(days) > _MISSING_SHOWN else ""
    listed = ", ".join(map(str, days[:_MISSING_SHOWN]))
    return (
        f"no rows of {listed}{more}, though each day should have some; no day from there on counts as complete. "
        "Load them; where a day had none, say so: load a file of a header alone with --replace-days DAY"
    )


def print_loads(loads: Sequence[Load]) -> None:
    """Print a row for each load of the history."""
    rows = [
        [
            one.batch,
            one.table,
            format_moment(one.at),
            f"{one.rows:,}",
            f"{one.rejects:,}",
            _format_load_days(one),
            _note(one),
            _list_files(one),
        ]
        for one in loads
    ]
    print_rows(["batch", "table", "when", "rows", "rejects", "days", "note", "files"], rows)
    for one in loads:
        if one.unsure:
            print(_describe_unsure(one), file=sys.stderr)


def _describe_unsure(one: Load) -> str:
    """Say what an undo that noted another load may have left out, and what to do."""
    days = one.replaced and f"{one.replaced[0]}:{one.replaced[1]}"
    again = f"load the former rows of {days} again with --replace-days {days}" if days else "load its files again"
    return (
        f"{one.table}: when batch {clean_line(one.batch)} was undone, an earlier version noted another load in its "
        f"stead, and what the batch had replaced may not have come back: {again}"
    )


def _format_load_days(one: Load) -> str:
    first, last = one.replaced or ((one.days[0], one.days[-1]) if one.days else (None, None))
    return "" if first is None else str(first) if first == last else f"{first}:{last}"


def _list_files(one: Load) -> str:
    """Name the first files of a load, and say how many more it had."""
    more = len(one.sources) - _FILES_SHOWN
    return " ".join(one.sources[:_FILES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _note(one: Load) -> str:
    if one.undone:
        return "undone"
    if one.left_out:
        return f"{format_count(len(one.left_out), 'day')} left out"
    return "replaced days" if one.replaced else ""


def print_undo_plan(plan: UndoPlan) -> None:
    """Print which load would be undone, and each day's rows to be removed and restored."""
    load = plan.load
    files = f" from {clean_line(_list_files(load))}" if load.sources else ""
    loaded = f"{format_count(load.rows, 'row')} loaded at {format_moment(load.at)}{files}"
    print(f"{load.table}: batch {clean_line(load.batch)}, {loaded}")
    rows = [[str(one.day or "all rows"), f"{one.removed:,}", f"{one.restored:,}"] for one in plan.days]
    if len(rows) > 1:
        totals = (sum(one.removed for one in plan.days), sum(one.restored for one in plan.days))
        rows.append(["total", *(f"{total:,}" for total in totals)])
    print_rows(["day", "rows removed", "rows restored"], rows)


def format_moment(moment: datetime | None) -> str:
    """Format a time for people, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment else ""
