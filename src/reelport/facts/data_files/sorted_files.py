"""Write sorted Parquet files of a table; each is complete and synced before a log names it.

The files are compressed, with checksums and encodings.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from reelport import killpoints
from reelport.errors import OutcomeUnknown, ReelportError, StorageError
from reelport.facts.log.delta_log import read_newest, read_paths
from reelport.facts.log.log_entry import MONTH_FILE, DataFile, name_month
from reelport.facts.log.log_files import find_remote, open_store
from reelport.facts.tables import BATCH, MONTH, OWNER, Table, stored_schema
from reelport.storage.digests import compute_digest
from reelport.storage.durable import make_folder, translate_io_errors

MONTH_STEM = MONTH_FILE.removesuffix("-")
"""What a month file is written under, until all its days are known."""
ROW_GROUP = 122_880
"""Rows per row group: small enough to skip most of a month, large enough to scan well."""


def open_writer(
    to: Path | pa.NativeFile, table: Table, *, statistics: Collection[str] | None = None, stores_schema: bool = True
) -> pq.ParquetWriter:
    """Open a writer of the table's rows, with statistics of all columns or of these.

    OSError when there is no room. Times are written as differences: a channel's rows lie in order of time, so that they
    take half the bytes and less. All other columns have dictionaries.
    """
    schema = stored_schema(table.name)
    return pq.ParquetWriter(
        to,
        schema,
        compression="zstd",
        # The values of a list are in a column of their own.
        use_dictionary=[
            f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
            for field in schema
            if field.name != table.time
        ],
        column_encoding=None if table.time is None else {table.time: "DELTA_BINARY_PACKED"},
        write_statistics=True if statistics is None else list(statistics),
        store_schema=stores_schema,
        write_page_checksum=True,
    )


class _SortedFileWriter:
    def __init__(self, folder: Path, table: Table, stem: str, month: str | None = None) -> None:
        self._table = table
        self._month = month
        self._token = secrets.token_hex(6)
        self._days: set[date] | None = set() if stem == MONTH_STEM else None
        self._relative = f"{stem}-{self._token}.parquet"
        if month is not None:
            self._relative = f"{MONTH}={month}/{self._relative}"
        self.path = folder / self._relative
        self._rows = 0
        self._first: datetime | date | None = None
        self._last: datetime | date | None = None
        self._low: str | None = None
        self.last_owner: str | None = None
        self._newest: datetime | None = None
        self._waiting: list[pa.Table] = []
        make_folder(self.path.parent)
        self._file = pa.OSFile(str(self.path), "wb")
        try:
            self._writer = open_writer(self._file, table)
        except OSError:
            # A full disk creates the file, but has no room for its first bytes.
            self._file.close()
            self.path.unlink(missing_ok=True)
            raise

    def tell(self) -> int:
        """Count the bytes that were written to disk so far."""
        return int(self._file.tell())

    def write(self, rows: pa.Table) -> None:
        """Add rows; they are written to disk one row group at a time."""
        if not rows.num_rows:
            return
        self._rows += rows.num_rows
        if self._table.time is not None:
            import pyarrow.compute as pc  # noqa: PLC0415 - slow to import; rows of objects have no time

            ends = pc.min_max(rows.column(self._table.time)).as_py()
            self._first = ends["min"] if self._first is None else min(self._first, ends["min"])
            self._last = ends["max"] if self._last is None else max(self._last, ends["max"])
            if self._days is not None:
                self._days.update(pc.unique(rows.column(self._table.time).cast(pa.date32(), safe=False)).to_pylist())
            owners = rows.column(OWNER)
            self._low = owners[0].as_py() if self._low is None else self._low
            self.last_owner = owners[-1].as_py()
        if self._table.born is not None:
            import pyarrow.compute as pc  # noqa: PLC0415 - slow to import; most objects aren't counted by their days

            found = pc.max(rows.column(self._table.born)).as_py(), self._newest
            self._newest = max((moment for moment in found if moment is not None), default=None)
        self._waiting.append(rows)
        if sum(part.num_rows for part in self._waiting) >= ROW_GROUP:
            self._flush(ROW_GROUP)

    def _flush(self, step: int) -> None:
        rows = pa.concat_tables(self._waiting)
        whole = rows.num_rows - rows.num_rows % step
        self._writer.write_table(rows.slice(0, whole), row_group_size=ROW_GROUP)
        self._waiting = [rows.slice(whole)] if whole < rows.num_rows else []

    def close(self) -> DataFile:
        """Finish the file; return its record for the log."""
        if self._waiting:
            self._flush(1)
        self._writer.close()
        self._file.close()
        if self._days is not None:  # a month file is named by its days, which are known now
            name = f"{name_month(self._days)}-{self._token}.parquet"
            self.path = self.path.rename(self.path.with_name(name))
            self._relative = f"{MONTH}={self._month}/{name}"
        killpoints.reach("load-write")
        size, digest = self.path.stat().st_size, compute_digest(self.path)
        ends = self._first, self._last, self._low, self.last_owner, self._newest
        return DataFile(self._relative, size, self._rows, self._month, *ends, digest)

    def discard(self) -> None:
        """Delete the unfinished file."""
        with suppress(Exception):  # on a full disk closing fails too, and the file is deleted anyway
            self._writer.close()
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class StagedFiles:
    """The new files of one change. Leaving the block deletes them, unless they are kept.

    They are kept by `keep`, and where a stop or an error came after a commit that names them: one that is later than
    version `since` of the table. Those of an object store are written in `drafts`, a work folder, and then uploaded.
    """

    def __init__(self, folder: Path, table: Table, since: int, drafts: Path) -> None:
        self._folder = folder
        self._since = since
        # In a folder the file itself is the one that a commit names.
        self._written = folder if find_remote(folder) is None else drafts
        self._store = open_store(folder, drafts)
        self._table = table
        self._open: _SortedFileWriter | None = None
        self._stem: tuple[str, str | None] | None = None
        self._done: list[DataFile] = []
        self._finished = False
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: object, _trace: object) -> None:
        # Files that a commit may name stay: a vacuum deletes them if none does.
        if self._kept or isinstance(error, OutcomeUnknown):
            return
        if error is None or not self._finished or not self._may_be_named():
            self._discard()

    def _may_be_named(self) -> bool:
        """Whether a commit since the change began names the files, or the log can't be read.

        The newest version doesn't tell: a compact or an undo may have removed them since, and readers that pinned a
        version before, or an undo of that, still need them. Nor do some recent commits: a process that is frozen after
        its commit may go on after any number of others.
        """
        done = {file.path for file in self._done}
        try:
            now = read_newest(self._folder.parent, self._table)
            later = range(now.version, self._since, -1)
            return any(not done.isdisjoint(read_paths(now, version, "add")) for version in later)
        except (ReelportError, ValueError):
            return True

    def _discard(self) -> None:
        if self._open is not None:
            self._open.discard()
            self._open = None
        for file in self._done:
            try:
                self._store.delete(file.path)
            except StorageError:  # of an object store that is away each would be tried for long: a vacuum deletes them
                if find_remote(self._folder) is not None:
                    break
        self._done = []

    def write_day(self, day: date, batch: str, rows: pa.Table) -> None:
        """Write a day's sorted rows with the batch column; all of a day must come together."""
        batches = pa.repeat(pa.scalar(batch), rows.num_rows)
        stem = f"{day.isoformat()}-{hashlib.sha256(batch.encode()).hexdigest()[:12]}"
        self.write(stem, f"{day:%Y-%m}", rows.append_column(BATCH, batches))

    def write(self, stem: str, month: str | None, rows: pa.Table) -> None:
        """Write sorted rows to the file of this stem and month; a new one starts a file."""
        if not rows.num_rows:
            return
        with translate_io_errors(self._folder):
            if self._stem != (stem, month):
                self.end_file()
                self._open = _SortedFileWriter(self._written, self._table, stem, month)
                self._stem = (stem, month)
            if self._open is not None:
                schema = stored_schema(self._table.name)
                # A cast imports all of Arrow's functions.
                self._open.write(rows if rows.schema.equals(schema) else rows.cast(schema))

    @property
    def last_owner(self) -> str | None:
        """The owner of the last row that was written to the open file."""
        return None if self._open is None else self._open.last_owner

    @property
    def open_bytes(self) -> int:
        """The bytes on the disk of the file that is being written; 0 between two files."""
        return 0 if self._open is None else self._open.tell()

    def end_file(self) -> None:
        """Finish the open file; the next rows start a new one, even with the same stem."""
        if self._open is not None:
            with translate_io_errors(self._open.path):
                self._done.append(self._open.close())
        self._open = None
        self._stem = None

    def finish(self) -> tuple[DataFile, ...]:
        """Finish the last file, make all durable in their store and return them, uncommitted."""
        self.end_file()
        for parent in {Path(file.path).parent for file in self._done}:
            self._store.sync(*(file.path for file in self._done if Path(file.path).parent == parent))
        self._finished = True
        killpoints.reach("load-fsync")
        return tuple(self._done)

    def keep(self, files: Collection[DataFile] | None = None) -> None:
        """Keep all files, or only these: a commit names them now."""
        if files is None:
            self._kept = True
        else:
            self._done = [file for file in self._done if file not in files]
