"""Progress of a load: its stage, and how much of it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reelport.facts.input.files import FileFormat, InputFile


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage (reading, mapping, sorting, writing, committing) and the rows through with it.

    `done` and `total` are in `unit`, 'bytes' of the files on disk or 'rows'; None where unknown.
    """

    stage: str
    rows: int
    done: int | None = None
    total: int | None = None
    unit: str = "rows"

    @property
    def share(self) -> float | None:
        """The share that is done, from 0 to 1; None where unknown."""
        return None if self.done is None or not self.total else min(self.done / self.total, 1)


ProgressCallback = Callable[[Progress], None]


class ProgressMeter:
    """Counts rows and bytes read of a load's files; reports each step to a callback.

    The caller sets `stored`, the number of rows in Parquet files (only DuckDB knows how many of them it has read), and
    `is_engine_reading` when DuckDB reads the files for a mapping. The progress of a sort is unknown.
    """

    def __init__(self, files: Sequence[InputFile], tell: ProgressCallback | None) -> None:
        self.rows = 0
        self.stored = 0
        self.is_engine_reading = False
        self._tell = tell or (lambda _: None)
        self._places = [0] * len(files)
        self._bytes = sum(file.size for file in files)
        self._is_parquet = bool(files) and all(file.format is FileFormat.PARQUET for file in files)
        self._are_rows_written = False

    def add_read_rows(self, rows: int) -> None:
        """Report that so many more rows were read from text files."""
        self.rows += rows
        self._tell(Progress("reading", self.rows, sum(self._places), self._bytes, "bytes"))

    def set_position(self, file: int, place: int) -> None:
        """Note how many bytes of a file (from 0) are read; reported with the next rows."""
        self._places[file] = place

    def report_engine_share(self, share: float) -> None:
        """Report the share, from 0 to 1, that DuckDB has done of reading and sorting."""
        if self._are_rows_written:
            return
        if self._is_parquet and self.stored:
            self._tell(Progress("reading", self.rows, int(share * self.stored), self.stored))
        elif self.is_engine_reading and not self.rows:
            self._tell(Progress("reading", 0, int(share * self._bytes), self._bytes, "bytes"))
        elif self.is_engine_reading:
            self._tell(Progress("mapping", self.rows, int(share * self.rows), self.rows))
        elif self._bytes and sum(self._places) >= self._bytes:
            self._tell(Progress("sorting", self.rows))

    def report_written(self, rows: int, total: int | None) -> None:
        """Report that so many rows are written, of `total` if known."""
        self._are_rows_written = True
        self._tell(Progress("writing", rows, None if total is None else rows, total))

    def report_committing(self, rows: int) -> None:
        """Report that all rows are written, and that the commit to the table's log begins."""
        self._tell(Progress("committing", rows, rows, rows))
