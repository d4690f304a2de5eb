"""Report what each table holds: rows, files, complete days, the last load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from reelport.facts.log.complete_days import Completeness, read_completeness
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.last_load import find_last_load
from reelport.facts.tables import TABLES, Table


@dataclass(frozen=True, slots=True)
class TableReport:
    """What one table holds. A table that nothing was loaded into has no rows, days or load.

    `complete_to` is the day up to which it is complete. `missing_days` have no rows though they should have some: see
    `complete_days`.
    """

    table: str
    rows: int
    files: int
    bytes: int
    complete_from: date | None
    complete_to: date | None
    last_load: datetime | None
    last_batch: str | None
    missing_days: tuple[date, ...] = ()


def tables_report(root: Path, today: date) -> tuple[TableReport, ...]:
    """Report on every table, as declared, with its complete days as of this one (UTC)."""
    return tuple(_report_table(root, table, today) for table in TABLES.values())


def _report_table(root: Path, table: Table, today: date) -> TableReport:
    now = read_newest(root, table)
    files, none = now.files, Completeness(None, None)
    last = find_last_load(now.folder, now.version) if now.delta else None
    days = read_completeness(root, table.name, now.version, files, today) if table.is_fact or table.born else none
    return TableReport(
        table.name,
        sum(file.rows for file in files),
        len(files),
        sum(file.size for file in files),
        days.first,
        days.last,
        last.at if last else None,
        last.batch if last else None,
        days.missing,
    )
