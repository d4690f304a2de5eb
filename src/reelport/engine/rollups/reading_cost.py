"""What it costs a report to read facts or a rollup, as far as a sample of them tells.

It is the bytes of the columns that are read, for the rows of the channels that are asked for, and a share for each such
row, which is looked at and summed. A rollup may have half as many rows as the facts, and a twentieth of those of a
channel whose rows are alike; and wide columns that facts have are in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reelport.engine.rollups.needs import Needs
from reelport.engine.rollups.shape import row_order, select_sums
from reelport.facts.data_files.duckdb_session import Workspace, parquet_source, path_list_sql
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import ROW_GROUP
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.rollups.definition import Rollup
from reelport.facts.row_rules import quote_name
from reelport.facts.schema import OWNER
from reelport.facts.tables import TABLES

_ROW_BYTES = 20
"""Bytes of columns that take as long to read as a row takes to be looked at and summed."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What a report reads of one table: columns, and rows of these owners (None: of all).

    `needs` are those that a rollup must have.
    """

    needs: Needs
    columns: frozenset[str]
    owners: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of a table or of a rollup: its rows by owner, and the bytes of each column."""

    rows_by_owner: Mapping[str | None, int]
    column_bytes: Mapping[str, int]

    @property
    def rows(self) -> int:
        """All of its rows."""
        return sum(self.rows_by_owner.values())

    @property
    def bytes(self) -> int:
        """The bytes of all columns."""
        return sum(self.column_bytes.values())

    def cost(self, reads: Reads) -> float:
        """What it costs to read of it, in bytes."""
        own = self.rows if reads.owners is None else sum(self.rows_by_owner.get(each, 0) for each in reads.owners)
        size = sum(self.column_bytes.get(name, 0) for name in reads.columns)
        return own * (size / max(self.rows, 1) + _ROW_BYTES)


@dataclass(frozen=True, slots=True)
class FactSample:
    """The newest file of a table, and what share of all of its rows are in that."""

    table: str
    path: str
    share: float
    sample: Sample


def sample_facts(work: Workspace, snapshot: Snapshot, table: str) -> FactSample | None:
    """Sample a table of facts; None when it has none."""
    files = snapshot.data_files(table)
    if not files:
        return None
    newest = max(files, key=lambda file: (file.last_day, file.rows, file.path))
    (path,) = snapshot.paths(table, [newest])
    share = max(newest.rows, 1) / max(sum(file.rows for file in files), 1)
    return FactSample(table, path, share, _measure_file(work, path))


def sample_rollup(work: Workspace, facts: FactSample, rollup: Rollup) -> Sample:
    """Sample a rollup: build it of the facts' sample, as a build would."""
    draft = work.folder / f"{rollup.name}.parquet"
    source = f"({project_sql(TABLES[facts.table], parquet_source([facts.path]))})"
    order = ", ".join(map(quote_name, row_order(rollup)))
    options = f"FORMAT PARQUET, COMPRESSION ZSTD, ROW_GROUP_SIZE {ROW_GROUP}"
    target = "'" + str(draft).replace("'", "''") + "'"
    _run(work, f"COPY ({select_sums(rollup, source)} ORDER BY {order}) TO {target} ({options})")
    try:
        return _measure_file(work, str(draft))
    finally:
        Path(draft).unlink()


def _measure_file(work: Workspace, path: str) -> Sample:
    source = path_list_sql([path])
    owners = f"SELECT {OWNER}, COUNT(*) FROM read_parquet({source}, hive_partitioning = false) GROUP BY 1"  # noqa: S608 - a quoted path
    sizes = f"SELECT path_in_schema, SUM(total_compressed_size) FROM parquet_metadata({source}) GROUP BY 1"  # noqa: S608 - a quoted path
    return Sample(
        {None if owner is None else str(owner): int(rows) for owner, rows in _run(work, owners)},
        {str(name): int(size) for name, size in _run(work, sizes)},
    )


def _run(work: Workspace, sql: str) -> list[tuple[str | None, int]]:
    return work.run_interruptibly(lambda: work.session.execute(sql).fetchall())
