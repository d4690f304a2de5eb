"""Rewrite data files with some of their rows, in order; conditions in SQL choose the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa

from reelport.facts.data_files.duckdb_session import Workspace, parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import MONTH_STEM, ROW_GROUP, StagedFiles
from reelport.facts.log.delta_log import TableVersion
from reelport.facts.log.log_entry import MONTH_FILE, DataFile
from reelport.facts.tables import BATCH, Table
from reelport.sql_quoting import quote_name, quote_text


def in_batches(batches: Collection[str]) -> str:
    """Write the condition of the rows of these batches, at least one."""
    return f"{quote_name(BATCH)} IN ({', '.join(map(quote_text, sorted(batches)))})"


def select_rows(table: Table, paths: Sequence[str], where: str) -> str:
    """Write the SELECT of these rows of files, at least one, with all columns."""
    return f"SELECT * FROM ({project_sql(table, parquet_source(list(paths)))}) WHERE {where}"  # noqa: S608 - quoted


def rewrite_file(space: Workspace, staged: StagedFiles, now: TableVersion, file: DataFile, where: str) -> None:
    """Write the rows under this condition into a new file; call `require_intact` before."""
    name = Path(file.path).name
    stem = MONTH_STEM if name.startswith(MONTH_FILE) else "-".join(name.split("-")[:-1])
    space.session.execute("SET preserve_insertion_order = true")
    found = space.session.sql(select_rows(now.table, now.paths([file]), where))
    for batch in found.to_arrow_reader(ROW_GROUP):
        staged.write(stem, file.month, pa.Table.from_batches([batch]))
    staged.end_file()


def count_days(space: Workspace, table: Table, paths: Sequence[str], where: str) -> Counter[date]:
    """Count rows of facts under this condition by day."""
    if not paths:
        return Counter()
    day = f"CAST({quote_name(table.time or '')} AS DATE)"
    sql = f"SELECT {day}, count(*) FROM ({select_rows(table, paths, where)}) GROUP BY 1"  # noqa: S608 - quoted
    return Counter(dict(space.session.execute(sql).fetchall()))
