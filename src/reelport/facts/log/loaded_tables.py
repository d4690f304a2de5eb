"""Report what each table holds: rows, files, complete days, the last load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from reelport.facts.log.complete_days import complete_days
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import list_loads
from reelport.facts.tables import TABLES, Table


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
