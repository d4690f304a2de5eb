"""Report what each table holds: rows, files, complete days, the last load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from reelport.facts.log.delta_log import DataFile, read_newest
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES, Table

_LAST_HOUR = 23


@dataclass(frozen=True, slots=True)
class TableReport:
    """What one table holds. A table that nothing was loaded into has no rows, days or load."""

    table: str
    rows: int
    files: int
    bytes: int
    first_day: date | None
    last_day: date | None
    last_load: datetime | None
    last_batch: str | None


def tables_report(root: Path) -> tuple[TableReport, ...]:
    """Report on every table, as declared, with its first and last complete day."""
    return tuple(_report_table(root, table) for table in TABLES.values())


def _report_table(root: Path, table: Table) -> TableReport:
    files = read_newest(root, table).files
    active = [load for load in list_loads(root, table.name) if not load.undone]
    last = active[-1] if active else None
    first_day, last_day = complete_days(files) if table.is_fact else (None, None)
    return TableReport(
        table.name,
        sum(file.rows for file in files),
        len(files),
        sum(file.size for file in files),
        first_day,
        last_day,
        last.at if last else None,
        last.batch if last else None,
    )


def complete_days(files: tuple[DataFile, ...]) -> tuple[date | None, date | None]:
    """Find the first and the last complete day that the files hold.

    In daily facts every day is complete. In hourly facts the last day is complete when it has its
    last hour, and the first day when it has its first; otherwise the next day inwards counts.
    """
    firsts = [file.first for file in files if file.first is not None]
    lasts = [file.last for file in files if file.last is not None]
    if not firsts or not lasts:
        return None, None
    first, last = min(firsts, key=_moment), max(lasts, key=_moment)
    low = first.date() if isinstance(first, datetime) else first
    high = last.date() if isinstance(last, datetime) else last
    if isinstance(first, datetime) and first.astimezone(UTC).hour:
        low += timedelta(days=1)
    if isinstance(last, datetime) and last.astimezone(UTC).hour < _LAST_HOUR:
        high -= timedelta(days=1)
    return (low, high) if low <= high else (None, None)


def last_complete_day(snapshot: Snapshot) -> date | None:
    """Find the last day complete in all of a snapshot's fact tables; None without one."""
    lasts = [complete_days(files)[1] for name, files in snapshot.listing.items() if TABLES[name].is_fact]
    known = [last for last in lasts if last is not None]
    return min(known, default=None) if len(known) == len(lasts) else None


def _moment(value: datetime | date) -> str:
    return value.isoformat()
