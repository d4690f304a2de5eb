"""Rewrite data files with some of their rows, in order; masks choose the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelport.facts.damage import translate_damage
from reelport.facts.data_files.projection import project_rows
from reelport.facts.data_files.sorted_files import MONTH_STEM, ROW_GROUP, StagedFiles
from reelport.facts.log.delta_log import TableVersion
from reelport.facts.log.log_entry import MONTH_FILE, DataFile
from reelport.facts.tables import BATCH, Kind, Table

Mask = Callable[[pa.Table], pa.ChunkedArray]
"""A function that returns for each row whether it is chosen."""


def in_days(table: Table, start: date, end: date) -> Mask:
    """Make a mask of the rows of these days, both included."""
    assert table.time is not None  # noqa: S101 - only facts lie on days
    name = table.time
    low, high = _bound(table, start), _bound(table, end + timedelta(days=1))

    def mask(rows: pa.Table) -> pa.ChunkedArray:
        moments = rows.column(name)
        return pc.and_(pc.greater_equal(moments, low), pc.less(moments, high))

    return mask


def _bound(table: Table, day: date) -> pa.Scalar:
    if table.time is not None and table.column(table.time).kind is Kind.DAY:
        return pa.scalar(day, pa.date32())
    return pa.scalar(datetime.combine(day, time(), UTC), pa.timestamp("us", "UTC"))


def in_batches(batches: frozenset[str]) -> Mask:
    """Make a mask of the rows of these batches."""
    wanted = pa.array(sorted(batches), pa.string())
    return lambda rows: pc.is_in(rows.column(BATCH), value_set=wanted)


def every_row(rows: pa.Table) -> pa.ChunkedArray:
    """A mask that chooses all rows."""
    return pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows)])


def negate(mask: Mask) -> Mask:
    """Make a mask of the rows that this mask doesn't choose."""
    return lambda rows: pc.invert(mask(rows))


def all_of(one: Mask, other: Mask) -> Mask:
    """Make a mask of the rows that both masks choose."""
    return lambda rows: pc.and_(one(rows), other(rows))


def rewrite_file(staged: StagedFiles, now: TableVersion, file: DataFile, mask: Mask) -> None:
    """Write the rows that the mask chooses into a new file; call `require_intact` before."""
    name = Path(file.path).name
    stem = MONTH_STEM if name.startswith(MONTH_FILE) else "-".join(name.split("-")[:-1])
    for rows in read_rows(now.path(file), now.table):
        staged.write(stem, file.month, rows.filter(mask(rows)))
    staged.end_file()


def read_rows(path: Path, table: Table) -> Iterator[pa.Table]:
    """Yield a file's rows in order, with this version's columns, a row group at a time."""
    with translate_damage(path), pq.ParquetFile(path) as whole:
        for batch in whole.iter_batches(ROW_GROUP):
            yield project_rows(table, pa.Table.from_batches([batch]))


def count_days(path: Path, table: Table, mask: Mask) -> Counter[date | None]:
    """Count rows chosen by the mask by day; object tables' have none: under None."""
    counts: Counter[date | None] = Counter()
    for rows in read_rows(path, table):
        chosen = rows.filter(mask(rows))
        if table.time is None:
            counts[None] += chosen.num_rows
            continue
        days = chosen.column(table.time).cast(pa.date32(), safe=False)
        counts.update({one["values"]: one["counts"] for one in pc.value_counts(days).to_pylist()})
    return counts


def read_batches(path: Path) -> frozenset[str]:
    """Read which batches the file's rows came from."""
    with translate_damage(path), pq.ParquetFile(path) as whole:
        found: set[str] = set()
        for batch in whole.iter_batches(ROW_GROUP, columns=[BATCH]):
            found.update(pc.unique(batch.column(0)).to_pylist())
        return frozenset(found)
