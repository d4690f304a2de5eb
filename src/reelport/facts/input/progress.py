"""How far a load is: its stage, and how much of how much has passed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reelport.facts.input.files import FileFormat, InputFile


@dataclass(frozen=True, slots=True)
class Progress:
    """The stage ('reading', 'mapping', 'sorting', 'writing' or 'committing') and the rows that passed it.

    `done` of `total` is in `unit`, 'bytes' of the files as they lie on the disk or 'rows'; None where it isn't known.
    """

    stage: str
    rows: int
    done: int | None = None
    total: int | None = None
    unit: str = "rows"

    @property
    def share(self) -> float | None:
        """What part is done, from 0 to 1."""
        return None if self.done is None or not self.total else min(self.done / self.total, 1)


ProgressCallback = Callable[[Progress], None]


class ProgressMeter:
    """Follows what is read of a load's files, by rows and by bytes, and tells each step.

    `stored` rows lie in Parquet files, of which only the engine knows how many it has read; who opens them says so, and
    whether the engine reads for a mapping (`is_engine_reading`). Of a sort it doesn't know how far it is.
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

    def restart(self) -> None:
        """The files are read again from their beginning."""
        self.rows = 0
        self._places = [0] * len(self._places)

    def add_read_rows(self, rows: int) -> None:
        """So many more rows came out of text files."""
        self.rows += rows
        self._tell(Progress("reading", self.rows, sum(self._places), self._bytes, "bytes"))

    def set_position(self, file: int, place: int) -> None:
        """So many bytes of the file of that number, from 0, are read; it is told with the rows that they hold."""
        self._places[file] = place

    def report_engine_share(self, share: float) -> None:
        """The engine has done this part, from 0 to 1, of reading what was brought before it, and of sorting it."""
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
        """So many rows are written, of so many in all if that is known."""
        self._are_rows_written = True
        self._tell(Progress("writing", rows, None if total is None else rows, total))

    def report_committing(self, rows: int) -> None:
        """All rows are written and are entered in the table's log."""
        self._tell(Progress("committing", rows, rows, rows))
