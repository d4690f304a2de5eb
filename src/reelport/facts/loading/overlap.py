"""Other batches' rows on a load's days: added to, or removed where it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from reelport.facts.data_files.rewriting import count_days, in_days
from reelport.facts.log.delta_log import TableVersion
from reelport.facts.log.history import find_filled_days, read_history
from reelport.wording import format_count

_SHOWN = 5
"""Days that a sentence names."""


@dataclass(frozen=True, slots=True)
class SharedDay:
    """A day on which other batches have rows already, and how many rows a load adds to it."""

    day: date
    rows: int


def find_shared_days(now: TableVersion, rows: Mapping[date, int]) -> tuple[SharedDay, ...]:
    """The days of a load not in the table yet on which the table has rows already."""
    filled = {file.first_day for file in now.files if file.first_day == file.last_day}
    months = [file for file in now.files if file.first_day < file.last_day]
    # The log tells which days of a month file have rows; it is read only where a month file may decide.
    if any(file.touches(day, day) for day in rows if day not in filled for file in months):
        filled |= find_filled_days(read_history(now))
    return tuple(SharedDay(day, rows[day]) for day in sorted(rows) if day in filled)


def format_shared_days(shared: Sequence[SharedDay], days: Sequence[date], *, is_dry: bool) -> str:
    """What a load of these days adds to, why that may be wrong, and what to do then."""
    rows = format_count(sum(one.rows for one in shared), "row")
    named = ", ".join(f"{one.day} ({one.rows:,})" for one in shared[:_SHOWN])
    more = f" and {format_count(len(shared) - _SHOWN, 'more day')}" if len(shared) > _SHOWN else ""
    added, again = ("would be added", "load the files") if is_dry else ("added", "load the files again")
    return (
        f"{rows} {added} to {format_count(len(shared), 'day')} on which other batches have rows: {named}{more}. "
        f"If they are the same facts, they count twice: {again} with --replace-days {min(days)}:{max(days)}, which "
        f"removes all other rows of these days{_describe_gaps(days)}"
    )


def _describe_gaps(days: Sequence[date]) -> str:
    """Say how many days between the load's own a replacement would empty."""
    gaps = (max(days) - min(days)).days + 1 - len(set(days))
    if not gaps:
        return ""
    which = "one day between them that has" if gaps == 1 else f"{gaps:,} days between them that have"
    return f", and empties {which} no rows in the files: for rows that came late, load whole days"


def count_replaced_rows(now: TableVersion, span: tuple[date, date]) -> int:
    """How many rows the table has on these days, both included."""
    mask, total = in_days(now.table, *span), 0
    for file in now.files:
        if not file.touches(*span):
            continue
        inside = span[0] <= file.first_day and file.last_day <= span[1]
        total += file.rows if inside else count_days(now.path(file), now.table, mask).total()
    return total
