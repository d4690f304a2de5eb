"""Read a table's Delta log: its files, what each commit did, the digests of files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from arro3.core import ChunkedArray, DataType
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from reelport.errors import NewerData, StorageError, StoreUnavailable
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.log_files import (
    DamagedCommit,
    commit_name,
    describe_place,
    find_damaged_commit,
    find_remote,
    has_log,
    open_store,
    read_actions,
    read_back,
)
from reelport.facts.log.table_identity import find_newest
from reelport.facts.tables import MONTH, OWNER, Table
from reelport.storage.digests import FileDamaged, is_intact
from reelport.storage.durable import describe_message, to_plain_line, translate_io_errors
from reelport.storage.file_store import FileStore
from reelport.storage.retries import ask_again, describe_outage, get_retry_seconds, quotes_token

_LONGEST = 120
"""Characters kept of the Delta library's message, which goes on with dumps of its own structures."""
_READER_VERSION, _WRITER_VERSION = 1, 2
"""The protocol of our tables: what the first readers and writers of Delta tables knew."""
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


RESTATED = "reelport-restated"
"""The Delta application id under which the log notes which commit has the restated days."""


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A table's version: files, and the open Delta table (None before a commit)."""

    table: Table
    folder: Path
    version: int
    files: tuple[DataFile, ...]
    delta: DeltaTable | None = None

    @property
    def store(self) -> FileStore:
        """The store of the table's files."""
        return open_store(self.folder)

    def paths(self, files: Iterable[DataFile]) -> list[str]:
        """Absolute local paths of data files, for SQL that reads them."""
        return [str(path.absolute()) for path in self.store.local_paths(file.path for file in files)]

    def path(self, file: DataFile) -> Path:
        """Local path of one data file."""
        return self.store.local_paths((file.path,))[0]

    def load_counter(self, batch: str) -> int:
        """Count the loads and undos of the batch: odd while the batch is loaded."""
        return (self.delta.transaction_version(counter_name(batch)) or 0) if self.delta else 0

    def is_loaded(self, batch: str) -> bool:
        """Whether the batch is loaded."""
        return self.load_counter(batch) % 2 == 1

    def is_file_noted(self, file: str) -> bool:
        """Whether a load had this file, by the name of a batch of it alone; undone or not."""
        return bool(self.load_counter(file) or (self.delta and self.delta.transaction_version(file_mark(file))))


def counter_name(batch: str) -> str:
    """Name the Delta application id under which the log counts the loads and undos of a batch."""
    return f"reelport-load:{batch}"


def file_mark(file: str) -> str:
    """Name the Delta application id under which the log notes that a load had this file."""
    return f"reelport-file:{file}"


@contextmanager
def translate_delta_errors(folder: Path) -> Iterator[None]:
    """Turn the Delta library's errors into a StorageError that names the table.

    It is StoreUnavailable where the table's object store can't be reached, or refuses for now or these credentials.
    """
    try:
        with translate_io_errors(folder), _translate_outage(folder):
            yield
    except DeltaError as error:
        if (damage := _find_damage(folder, error)) is not None:
            raise damage from error
        first = to_plain_line(str(error).strip().splitlines()[0])
        message = f"{first[:_LONGEST]}…" if len(first) > _LONGEST else first
        raise StorageError(
            f"{describe_place(folder)}: {describe_message(str(error), folder) or f'{message}; run reelport verify'}"
        ) from error


def _find_damage(folder: Path, error: DeltaError) -> DamagedCommit | None:
    """Find the commit that the library failed to parse, which its error doesn't name."""
    if not isinstance(error, CommitFailedError | TableNotFoundError):
        with suppress(StorageError):  # that the log can't be read is told by the error itself
            return find_damaged_commit(folder)
    return None


@contextmanager
def _translate_outage(folder: Path) -> Iterator[None]:
    """Raise StoreUnavailable where the library says so of a remote table.

    A session token that it quotes is not repeated.
    """
    try:
        yield
    except (DeltaError, OSError) as error:
        outage = None if find_remote(folder) is None else describe_outage(str(error))
        if outage is None:
            raise
        cause = None if quotes_token(str(error)) else error
        raise StoreUnavailable(f"{describe_place(folder)}: {outage}") from cause


def open_table(folder: Path, version: int | None = None) -> DeltaTable | None:
    """Open the Delta table in the folder; None when there is none yet.

    Raises StorageError when there was one; NewerData when its protocol needs a newer reader or writer than this version
    has.
    """
    if not has_log(folder) and find_newest(folder.parent, folder.name) is None:
        return None
    with translate_delta_errors(folder):
        try:
            delta = open_delta(folder, version)
        except TableNotFoundError:
            return None
        protocol = delta.protocol()
    if protocol.min_reader_version > _READER_VERSION or protocol.min_writer_version > _WRITER_VERSION:
        raise NewerData(
            f"{folder} asks for Delta reader {protocol.min_reader_version} and writer {protocol.min_writer_version}; "
            f"this version knows {_READER_VERSION} and {_WRITER_VERSION}: use the version or tool that wrote it"
        )
    return delta


def open_delta(folder: Path, version: int | None = None) -> DeltaTable:
    """Open the Delta table at a version, or the newest. Raises the Delta library's errors."""
    uri, options = folder_uri(folder), storage_options(folder)
    return ask_again(lambda: DeltaTable(uri, version=version, storage_options=options), get_retry_seconds())


def storage_options(folder: Path) -> dict[str, str] | None:
    """Return the Delta library's options for the table that this folder is, or stands for."""
    remote = find_remote(folder)
    return None if remote is None else remote.delta_options()


def folder_uri(folder: Path) -> str:
    """Convert the folder's path to the URI that the Delta library expects.

    Raises StorageError for a path with a percent escape such as `%20`: the library would decode it.
    """
    if find_remote(folder) is not None:
        return describe_place(folder)
    if _ENCODED.search(str(folder.absolute())):
        raise StorageError(f"{folder}: a folder's name can't hold a percent sign with two hex digits; choose another")
    return folder.absolute().as_uri()


def read_newest(root: Path, table: Table) -> TableVersion:
    """Read the newest version of the table; version -1 without files when it doesn't exist yet."""
    folder = root / table.name
    delta = open_table(folder)
    if delta is None:
        return TableVersion(table, folder, -1, ())
    return TableVersion(table, folder, delta.version(), list_files(delta, table), delta)


def list_files(delta: DeltaTable, table: Table) -> tuple[DataFile, ...]:
    """List the files of this version of the table, ordered by path."""
    time_name = table.time or ""
    wanted = {"path", "size_bytes", "num_records", f"partition.{MONTH}"}
    wanted |= {f"{end}.{column}" for end in ("min", "max") for column in (time_name, OWNER)} | {f"max.{table.born}"}
    actions = delta.get_add_actions(flatten=True)
    columns = {name: _values(actions.column(name)) for name in actions.column_names if name in wanted}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    found = [
        DataFile(
            path=row["path"],
            size=row["size_bytes"],
            rows=row["num_records"] or 0,
            month=row.get(f"partition.{MONTH}"),
            first=row.get(f"min.{time_name}"),
            last=row.get(f"max.{time_name}"),
            low_owner=row.get(f"min.{OWNER}"),
            high_owner=row.get(f"max.{OWNER}"),
            newest=row.get(f"max.{table.born}"),
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda file: file.path))


def list_files_at(folder: Path, table: Table, version: int) -> tuple[DataFile, ...]:
    """List the files of a version of the table. StorageError when it is gone or can't be read."""
    delta = open_table(folder, version)
    if delta is None:
        raise StorageError(f"version {version} of {folder} is gone")
    return list_files(delta, table)


def _values(column: ChunkedArray) -> list[Any]:
    """Convert a column of arro3, the Delta library's own Arrow, to Python values.

    Importing pyarrow would take longer than reading the log. Timestamps are computed here, because arro3 looks UTC
    up in a time zone database, which a machine may lack.
    """
    if not DataType.is_timestamp(column.type):
        return list(column.to_pylist())
    microseconds = column.cast(DataType.timestamp("us", tz="UTC")).cast(DataType.int64()).to_pylist()
    return [None if each is None else _EPOCH + each * _MICROSECOND for each in microseconds]


def read_paths(now: TableVersion, version: int, kind: str) -> tuple[str, ...]:
    """Read the paths of the data files that a version's commit did `add` or `remove`."""
    with translate_io_errors(now.folder):
        actions = read_actions(now.store, commit_name(version))
    return tuple(action[kind]["path"] for action in actions if kind in action)


DIGESTS = "reelportDigests"
"""The field of a commit's information that holds digests by path."""


def list_digests(files: Iterable[DataFile]) -> dict[str, str]:
    """List what a commit records of the files that it adds."""
    return {file.path: file.digest for file in files if file.digest is not None}


def parse_digests(info: Mapping[str, Any]) -> Mapping[str, str]:
    """Parse the digests of one commit's information; one that adds no files has none."""
    found = info.get(DIGESTS)
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}


def _read_digests(now: TableVersion, paths: AbstractSet[str]) -> Mapping[str, str]:
    """Read the recorded digests of these files, and perhaps those of others.

    They are files of this version or one before it. Commits are read from the newest back, until each file's digest is
    found: in an object store each commit is a request.
    """
    # Not by `DeltaTable.history`: it takes in commits that came since, and numbers all of them too low by as many.
    found: dict[str, str] = {}
    for info in read_back(now.folder, now.version):
        for path, digest in parse_digests(info).items():
            found.setdefault(path, digest)
        if paths <= found.keys():
            break
    return found


def require_intact(now: TableVersion, files: Collection[DataFile]) -> None:
    """Raise FileDamaged where the bytes of one of the files are not those that were written.

    StorageError when one has no digest in the log, or can't be read. A copy of an object store's file that has rotted
    on this machine is fetched again. Whatever writes files anew calls it before it reads them: the new ones would carry
    damage on under a digest that proves it.
    """
    known = _read_digests(now, {file.path for file in files})
    for file in files:
        path, digest = now.path(file), known.get(file.path)
        if digest is None:
            raise StorageError(f"{path}: the log records no digest of it; run reelport verify")
        with translate_io_errors(path):
            if not is_intact(path, digest) and not is_intact(now.store.fetch_again(file.path), digest):
                raise FileDamaged(f"{path}: its bytes are not those that were written; run reelport verify")
