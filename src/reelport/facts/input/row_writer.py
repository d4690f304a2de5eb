"""Write a load's rows: good ones to the table's files, bad ones to the rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from reelport.facts.data_files.sorted_files import ROW_GROUP, StagedFiles
from reelport.facts.input.load_query import DAY, OUTSIDE, REJECT
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.rejects import Rejects
from reelport.facts.schema import OWNER
from reelport.facts.tables import Table

Total = Callable[[], int | None]
"""Returns how many rows were read, good and bad, once all are read; None if only DuckDB could know."""


@dataclass(frozen=True, slots=True)
class OutsideRows:
    """Rows kept by a lenient load with a text outside a list: which list, how many."""

    reason: str
    rows: int


class RowWriter:
    """Writes a load's rows; counts rows, days, owners, and texts outside their lists."""

    def __init__(
        self,
        table: Table,
        batch: str,
        staged: StagedFiles,
        bad: Rejects,
        meter: ProgressMeter,
        total: Total,
        owners: Counter[str] | None = None,
    ) -> None:
        self.rows = 0
        self.days: list[date] = []
        self.outside: Counter[str] = Counter()
        self._table = table
        self._batch = batch
        self._staged = staged
        self._bad = bad
        self._meter = meter
        self._total = total
        self._owners = owners

    def write(self, found: duckdb.DuckDBPyRelation) -> None:
        """Write the good rows of a query.

        Bad rows come first, so that too many of them end the load before a good one is written.
        """
        for batch in found.to_arrow_reader(ROW_GROUP):
            part = pa.Table.from_batches([batch])
            refused = part.num_rows - part.column(REJECT).null_count
            for row in part.column(REJECT).slice(0, refused).to_pylist():
                self._bad.add_row(row["file"], row["line"], row["reason"], row["raw"])
            part = part.slice(refused)
            if part.num_rows:
                self._write_good_rows(part)

    def _write_good_rows(self, part: pa.Table) -> None:
        read = self._total()
        if not self.rows and read is not None:
            self._bad.check_share(read)
        self._count(part)
        kept = part.select([name for name in part.column_names if name not in {REJECT, OUTSIDE}])
        if self._table.is_fact:
            for day, of_day in _split_by_day(kept):
                self._staged.write_day(day, self._batch, of_day)
                if not self.days or self.days[-1] != day:
                    self.days.append(day)
        else:
            self._staged.write("rows", None, kept.drop_columns([DAY]))
        self.rows += part.num_rows
        self._meter.report_written(self.rows, None if read is None else read - self._bad.count)

    def _count(self, part: pa.Table) -> None:
        if OUTSIDE in part.column_names:
            _add_counts(self.outside, pc.list_flatten(part.column(OUTSIDE)))
        if self._owners is not None and OWNER in part.column_names:
            _add_counts(self._owners, part.column(OWNER))


def _add_counts(counter: Counter[str], texts: pa.ChunkedArray) -> None:
    for one in pc.value_counts(texts.combine_chunks()).to_pylist():
        counter[one["values"]] += one["counts"]


def _split_by_day(part: pa.Table) -> Iterable[tuple[date, pa.Table]]:
    runs = pc.run_end_encode(part.column(DAY).combine_chunks())
    start = 0
    for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield day, part.slice(start, end - start).drop_columns([DAY])
        start = end
