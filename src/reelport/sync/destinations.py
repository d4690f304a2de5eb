"""Where copies are kept: a DuckDB file or a folder of Parquet files; locks, last successes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reelport.client.files.download_target import translate_io_errors
from reelport.client.files.locks import POSIX, rename_into_place, replace_whole, try_lock
from reelport.errors import NewerData, StorageError, UsageError
from reelport.killpoints import reach
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.contract import (
    Agreement,
    View,
    agree,
    in_window_sql,
    is_stale_sql,
    refuse_emptied,
    replaced_span,
    select_stamped,
    time_field,
)
from reelport.sync.events import Loaded
from reelport.sync.spec import Days, Kind, Place, Spec, month_first
from reelport.sync.staging import OWN, Delivery, Field, count_rows, day_sql, load_stage, open_duckdb
from reelport.sync.verified_days import State
from reelport.wire import format_utc

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORAGE_VERSION = "v1.2.0"  # storage format of a new file: DuckDB 1.2 and newer can open it
STATES = "_reelport_states"
PATIENCE = 10.0  # seconds to wait while another process has the file open
_KEEP_TRYING = 0.25
_NO_DATABASE = "not a valid DuckDB database file"

# DuckDB's error texts for a file that another process, or another connection of this one, has open.
_OPEN_ELSEWHERE = ("Could not set lock", "already attached")


class DuckDBFile:
    """A DuckDB file as a destination: a table for each spec, and one of their states.

    The file is open only while a window is replaced or read.
    """

    def __init__(self, place: Place, patience: float = PATIENCE) -> None:
        self._place = place
        self._patience = patience

    def state(self, spec: Spec) -> State:
        """Return a copy's state, as far as its rows confirm it; the empty one without a copy."""
        if not self._place.path.exists():
            return State()
        with self._open(read_only=True) as con:
            state = _read_state(con, spec)
            if not state.has_meaning_of(spec):
                return state
            time = time_field(spec, _read_fields(con, spec))
            last = f"SELECT max({day_sql(time)}) FROM {_table_name(spec)}"  # noqa: S608 - quoted
            return state.trust(spec, (con.execute(last).fetchone() or (None,))[0])

    @contextmanager
    def view(self, spec: Spec) -> Iterator[View | None]:
        """Open the copy of a spec for reading; gives None while there is none."""
        if not self._place.path.exists():
            yield None
            return
        with self._open(read_only=True) as con:
            fields = _read_fields(con, spec)
            yield View(con, _table_name(spec), fields) if fields else None

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Loaded:
        """Replace all rows of the delivery's window, and add its days to the state, at once."""
        with self._open(read_only=False) as con:
            staged = load_stage(con, delivery.file)
            kept = _read_fields(con, spec)
            agreement = agree(spec, kept, staged, delivery.window)
            rows = staged.count(agreement.rows)
            state = _read_state(con, spec)
            with _transaction(con):
                _apply_columns(con, spec, kept, agreement)
                condition = in_window_sql(spec, agreement.fields, delivery)
                before = count_rows(con, _table_name(spec), condition)
                refuse_emptied(spec, delivery, before, rows, allow_empty=allow_empty)
                besides = is_stale_sql(spec, agreement.fields, delivery, state)
                con.execute(f"DELETE FROM {_table_name(spec)} WHERE {condition} OR {besides}")  # noqa: S608 - names are quoted
                reach("sync-deleted")
                con.execute(f"INSERT INTO {_table_name(spec)} BY NAME {select_stamped(spec, delivery, agreement)}")
                reach("sync-inserted")
                _write_state(con, spec, state.after(spec, delivery))
                reach("sync-stated")
            reach("sync-committed")
        return Loaded(spec.name, delivery.window, before, rows, delivery.token, agreement.notes)

    def unverify(self, spec: Spec, days: Days | None = None) -> None:
        """Mark a spec's days, or all, as unverified: they are read again. Rows stay."""
        if not self._place.path.exists():
            return
        with self._open(read_only=False) as con:
            state = _read_state(con, spec)
            if state.without_verified(days) != state:
                with _transaction(con):
                    _write_state(con, spec, state.without_verified(days))

    @contextmanager
    def _open(self, *, read_only: bool) -> Iterator[DuckDBPyConnection]:
        """Open a connection with the file attached as `copy`. Creates the file unless `read_only`."""
        with open_duckdb(self._place.work_folder / "spill") as con:
            _attach(con, self._place, self._patience, read_only=read_only)
            yield con
            # Detaching writes the log (WAL) into the file: an older DuckDB might not read a log.
            con.execute("DETACH copy")


def _attach(con: DuckDBPyConnection, place: Place, patience: float, *, read_only: bool) -> None:
    import duckdb  # noqa: PLC0415 - heavy; it is loaded by now

    # An existing file keeps its storage version.
    writing = "" if place.path.exists() else f"(STORAGE_VERSION '{STORAGE_VERSION}')"
    options = "(READ_ONLY)" if read_only else writing
    if place.path.is_dir():
        raise StorageError(f"The destination {place} is a folder, and ends as a DuckDB file: name another one.")
    until = time.monotonic() + patience
    while True:
        try:
            con.execute(f"ATTACH {quote_text(str(place.path))} AS copy {options}")
        except duckdb.Error as error:
            if _NO_DATABASE in str(error):
                raise StorageError(
                    f"The destination {place} is there and is no DuckDB file: move it away, or name another one."
                ) from None
            if not any(words in str(error) for words in _OPEN_ELSEWHERE):
                raise
            if time.monotonic() > until:
                raise StorageError(f"{place} is open elsewhere: close it there, and run this again.") from None
        else:
            return
        time.sleep(_KEEP_TRYING)


@contextmanager
def _transaction(con: DuckDBPyConnection) -> Iterator[None]:
    con.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:  # whatever is raised, nothing of the window may stay
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")


def _table_name(spec: Spec) -> str:
    return f"copy.main.{quote_name(spec.name)}"


def _read_fields(con: DuckDBPyConnection, spec: Spec) -> tuple[Field, ...]:
    """Read the report's columns of the table; UsageError for one that no sync has made."""
    rows = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'copy' AND schema_name = 'main' AND lower(table_name) = ? ORDER BY column_index",
        [spec.name],
    ).fetchall()
    if rows and not OWN.keys() <= {name for name, _ in rows}:
        raise UsageError(f"There is a table {spec.name} already that no sync has made: give the report another name.")
    return tuple(Field(name, kind) for name, kind in rows if name not in OWN)


def _apply_columns(con: DuckDBPyConnection, spec: Spec, kept: tuple[Field, ...], agreement: Agreement) -> None:
    if not kept:
        columns = [Field(name, kind) for name, kind in OWN.items()] + list(agreement.fields)
        listed = ", ".join(f"{quote_name(column.name)} {column.type}" for column in columns)
        con.execute(f"CREATE TABLE {_table_name(spec)} ({listed})")
    before = {field.name: field.type for field in kept or agreement.fields}
    for field in agreement.fields:
        if field.name not in before:
            con.execute(f"ALTER TABLE {_table_name(spec)} ADD COLUMN {quote_name(field.name)} {field.type}")
        elif before[field.name] != field.type:
            con.execute(f"ALTER TABLE {_table_name(spec)} ALTER COLUMN {quote_name(field.name)} TYPE {field.type}")


def _read_state(con: DuckDBPyConnection, spec: Spec) -> State:
    """Read the state of a spec; the empty one where its table was dropped."""
    if not _read_fields(con, spec):
        return State()
    table = con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = 'copy' AND schema_name = 'main' AND table_name = ?",
        [STATES],
    ).fetchone()
    if table is None:
        return State()
    found = con.execute(f"SELECT state FROM copy.main.{STATES} WHERE spec = ?", [spec.name]).fetchone()  # noqa: S608 - ours
    return State.from_json(found[0]) if found else State()


def _write_state(con: DuckDBPyConnection, spec: Spec, state: State) -> None:
    con.execute(f"CREATE TABLE IF NOT EXISTS copy.main.{STATES} (spec VARCHAR, state VARCHAR, changed_at TIMESTAMPTZ)")
    con.execute(f"DELETE FROM copy.main.{STATES} WHERE spec = ?", [spec.name])  # noqa: S608 - ours
    con.execute(f"INSERT INTO copy.main.{STATES} VALUES (?, ?, now())", [spec.name, state.to_json()])  # noqa: S608 - ours


CURRENT, VERSIONS, MANIFEST = "current", "versions", "manifest.json"
_KEPT_SECONDS = 3600.0  # how long a version stays after it was replaced, for programs that still read it
_FORMAT = 1


class ParquetFolder:
    """A folder of Parquet files as a destination: each spec's versions, and a link to the last.

        FOLDER/views/current -> versions/20261125T140000-3f2a
        FOLDER/views/versions/20261125T140000-3f2a/2026-11-24.3f2a.0.parquet, …, manifest.json

    Each window makes a new version, which is written whole before the link points to it, and is never changed. Where
    links can't be made, on a Windows without the right to, `current` is a file that holds the version's name. Files of
    days outside of the window are hard-linked from the version before. A file's name holds the id of the version that
    wrote it: a reader that lists `current` before a change and opens files after it finds the same rows or no file,
    never others.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def state(self, spec: Spec) -> State:
        """Return a copy's state, as far as its rows confirm it; the empty one without a copy."""
        version = self._read_version(spec)
        if version is None:
            return State()
        _, manifest = version
        return manifest.state.trust(spec, max((file.day for file in manifest.files if file.rows), default=None))

    @contextmanager
    def view(self, spec: Spec) -> Iterator[View | None]:
        """Open the copy of a spec for reading; gives None while there is none."""
        version = self._read_version(spec)
        if version is None:
            yield None
            return
        folder, manifest = version
        with open_duckdb(self._place.work_folder / "spill") as con:
            yield View(con, _read_parquet_sql(folder, [file.name for file in manifest.files]), manifest.fields)

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Loaded:
        """Replace the delivery's window: write a new version whole, then point the link to it."""
        home = self._place.path / spec.name
        current, old = self._read_version(spec) or (home, None)
        with open_duckdb(self._place.work_folder / "spill") as con, translate_io_errors(home):
            con.execute("SET threads = 1")  # so that rows keep their order
            staged = load_stage(con, delivery.file)
            kept = old.fields if old else ()
            agreement = agree(spec, kept, staged, delivery.window)
            rows = staged.count(agreement.rows)
            gone, stays = _split_files(spec, old, delivery)
            before = sum(file.rows for file in gone)
            refuse_emptied(spec, delivery, before, rows, allow_empty=allow_empty)
            time, fields = time_field(spec, agreement.fields), agreement.fields
            with _Version(home) as version:
                version.write_days(con, select_stamped(spec, delivery, agreement), day_sql(time))
                version.take_over(con, current, stays, kept, fields)
                reach("sync-written")
                if not version.files:
                    version.write_no_rows(con, fields, spec.start)
                files = tuple(sorted(version.files, key=lambda file: file.name))
                state = (old.state if old else State()).after(spec, delivery)
                version.publish(Manifest(spec.name, time.name, state, fields, files))
        return Loaded(spec.name, delivery.window, before, rows, delivery.token, agreement.notes)

    def unverify(self, spec: Spec, days: Days | None = None) -> None:
        """Mark a spec's days, or all, as unverified, in a new version of the same files."""
        version = self._read_version(spec)
        if version is None:
            return
        current, old = version
        fresh, home = replace(old, state=old.state.without_verified(days)), self._place.path / spec.name
        if fresh == old:
            return
        with translate_io_errors(home), _Version(home) as made:
            for file in old.files:
                made.link(current, file)
            made.publish(fresh)

    def _read_version(self, spec: Spec) -> tuple[Path, Manifest] | None:
        if self._place.path.exists() and not self._place.path.is_dir():
            raise UsageError(f"{self._place} is a file: a destination for Parquet is a folder.")
        current = self._place.path / spec.name / CURRENT
        folder = _read_link(current)
        if folder is None:
            return None
        if not folder.exists():
            advice = f"Delete {current}, and `reelport sync run` reads every day again."
            raise StorageError(f"{current} points to a version that is gone: was it removed by hand? {advice}")
        return folder, Manifest.read(folder)


class _Version:
    """A version being written; until complete, its folder's name begins with a dot."""

    def __init__(self, home: Path) -> None:
        self.files: list[DataFile] = []
        self._home = home
        self._id = secrets.token_hex(4)
        self._name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{self._id}"  # names sort by time
        self._part = home / VERSIONS / f".{self._name}"
        self._part.mkdir(parents=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._part, ignore_errors=True)  # it has its own name by now, or is of no use

    def write_days(self, con: DuckDBPyConnection, rows: str, day: str) -> None:
        """Write the rows of a query into a file for each day, or some; `day` is its SQL."""
        by_day = f"SELECT *, {day} AS _day FROM ({rows})"  # noqa: S608 - all of it is quoted
        _copy_rows(con, by_day, self._part, ", PARTITION_BY (_day), OVERWRITE_OR_IGNORE")
        for folder in sorted(self._part.glob("_day=*")):
            for number, file in enumerate(sorted(folder.iterdir())):
                self._adopt(con, file, date.fromisoformat(folder.name.partition("=")[2]), number)
            folder.rmdir()

    def take_over(
        self,
        con: DuckDBPyConnection,
        folder: Path,
        stays: list[DataFile],
        kept: tuple[Field, ...],
        fields: tuple[Field, ...],
    ) -> None:
        """Take the version before's unchanged files: hard links, or rewritten columns."""
        known = {field.name for field in kept}
        columns = ", ".join([*map(quote_name, OWN), *(_cast_or_null(field, known) for field in fields)])
        for number, file in enumerate(stays):
            if kept == fields:
                self.link(folder, file)
                continue
            fresh = self._part / f"rewritten-{number}"
            _copy_rows(con, f"SELECT {columns} FROM {_read_parquet_sql(folder, [file.name])}", fresh)  # noqa: S608 - quoted
            self._adopt(con, fresh, file.day, number)

    def link(self, folder: Path, file: DataFile) -> None:
        """Take a file of the version before, as it is."""
        _link_or_copy(folder / file.name, self._part / file.name)
        self.files.append(file)

    def write_no_rows(self, con: DuckDBPyConnection, fields: tuple[Field, ...], day: date) -> None:
        # So that reading the folder gives columns and no rows instead of an error.
        columns = [Field(name, kind) for name, kind in OWN.items()] + list(fields)
        nulls = ", ".join(_cast_or_null(field, set()) for field in columns)
        _copy_rows(con, f"SELECT {nulls} WHERE false", self._part / "empty")
        self._adopt(con, self._part / "empty", day, 0)

    def publish(self, manifest: Manifest) -> None:
        """Complete the version durably, and point the link to it."""
        manifest.write(self._part)
        _fsync_path(self._part)
        self._part.rename(self._home / VERSIONS / self._name)
        _fsync_path(self._home / VERSIONS)
        reach("sync-version")
        _point_link(self._home / CURRENT, f"{VERSIONS}/{self._name}")
        reach("sync-committed")
        _remove_old_versions(self._home)

    def _adopt(self, con: DuckDBPyConnection, file: Path, day: date, number: int) -> None:
        name = f"{day}.{self._id}.{number}.parquet"
        file.rename(self._part / name)
        _fsync_path(self._part / name)
        self.files.append(DataFile(name, day, count_rows(con, _read_parquet_sql(self._part, [name]))))


def _copy_rows(con: DuckDBPyConnection, select: str, to: Path, options: str = "") -> None:
    con.execute(f"COPY ({select}) TO {quote_text(str(to))} (FORMAT parquet, COMPRESSION zstd{options})")


def _remove_old_versions(home: Path) -> None:
    current = _read_link(home / CURRENT)
    whole = sorted(path for path in (home / VERSIONS).glob("*") if not path.name.startswith("."))
    for folder in (home / VERSIONS).glob(".*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder, successor in pairwise(whole):
        if folder != current and time.time() - successor.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _split_files(spec: Spec, old: Manifest | None, delivery: Delivery) -> tuple[list[DataFile], list[DataFile]]:
    """Split the files into those that the window replaces and those that stay.

    Of a copy by another query or service only files that a later window will replace stay.
    """
    if old is None:
        return [], []
    days = delivery.days
    if spec.monthly:
        days |= Days.between(month_first(delivery.window.start), delivery.window.end)
    # Files placed by another time column would stay beside the new ones, and repeat their rows.
    told = old.time == spec.time
    gone = [file for file in old.files if not told or file.day in days or not file.rows]
    kept = old.state.is_current(spec, delivery.service)
    wanted = Days.between(*replaced_span(spec, delivery))
    return gone, [file for file in old.files if file not in gone and (kept or file.day in wanted)]


def _read_parquet_sql(folder: Path, names: list[str]) -> str:
    """SQL relation over these files. A folder named `key=value` adds no column."""
    listed = ", ".join(quote_text(str(folder / name)) for name in names)
    return f"read_parquet([{listed}], hive_partitioning = false)"


def _cast_or_null(field: Field, kept: set[str]) -> str:
    value = quote_name(field.name) if field.name in kept else "NULL"
    return f"CAST({value} AS {field.type}) AS {quote_name(field.name)}"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a version. All of its rows are of one day (for months, the first)."""

    name: str
    day: date
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A copy's version, complete once written, never changed. `time`: its days' column."""

    spec: str
    time: str
    state: State
    fields: tuple[Field, ...]
    files: tuple[DataFile, ...]

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder of its version, durably."""
        content = {
            "format": _FORMAT,
            "spec": self.spec,
            "time": self.time,
            "columns": {field.name: field.type for field in self.fields},
            "files": [{"name": file.name, "day": file.day.isoformat(), "rows": file.rows} for file in self.files],
            "state": json.loads(self.state.to_json()),
        }
        (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        _fsync_path(folder / MANIFEST)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a manifest. NewerData for a newer format, StorageError for a damaged file."""
        path = folder / MANIFEST
        with translate_io_errors(path):
            text = path.read_text("utf-8")
        try:
            found = json.loads(text)
            if found["format"] > _FORMAT:
                raise NewerData(f"{path} was written by a newer version of reelport: use that one.")
            fields = tuple(Field(name, kind) for name, kind in found["columns"].items())
            files = tuple(
                DataFile(str(file["name"]), date.fromisoformat(file["day"]), int(file["rows"]))
                for file in found["files"]
            )
            return cls(
                str(found["spec"]), str(found["time"]), State.from_json(json.dumps(found["state"])), fields, files
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{path} can't be read ({error}): was it changed by hand?") from None


def _fsync_path(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to the disk."""
    if not POSIX and path.is_dir():
        return  # Windows syncs no folders: NTFS writes down names by itself.
    handle = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _point_link(link: Path, target: str) -> None:
    """Point a link elsewhere, atomically; a text file where links can't be made."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(target)
    except (OSError, NotImplementedError):  # a Windows without the right to, a disk without links
        fresh.write_text(f"{target}\n", "utf-8")
        _fsync_path(fresh)
    rename_into_place(fresh, link)
    _fsync_path(link.parent)


def _read_link(link: Path) -> Path | None:
    if link.is_symlink():
        return link.resolve()
    return (link.parent / link.read_text("utf-8").strip()).resolve() if link.is_file() else None


def _link_or_copy(file: Path, name: Path) -> None:
    """Hard-link a file under one more name; copy it where the disk has no hard links."""
    try:
        name.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, name)
        _fsync_path(name)


def open_destination(place: Place) -> DuckDBFile | ParquetFolder:
    """Return the destination at a place. It creates and opens nothing before its first use.

    A reader sees a copy before or after a replaced window. `replace` changes nothing where it raises: SchemaDrift by
    the contract, WindowEmptied when the window had rows and would have none (unless `allow_empty`), StorageError.
    """
    match place.kind:
        case Kind.DUCKDB:
            return DuckDBFile(place)
        case Kind.PARQUET:
            return ParquetFolder(place)


# The holder's process id is in a second file: on Windows no other process can read a locked one.
_LOCK, _HOLDER = "lock", "holder"


@contextmanager
def lock_destination(place: Place) -> Iterator[Path]:
    """Lock a destination's work folder. UsageError names the process that has it."""
    workshop = place.work_folder
    with translate_io_errors(place.path):
        workshop.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workshop / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            other = _read_holder(workshop / _HOLDER)
            raise UsageError(f"Another sync (process {other}) is bringing {place} up to date: wait for it, or stop it.")
        with translate_io_errors(place.path):
            (workshop / _HOLDER).write_text(f"{os.getpid()}\n", "utf-8")
        try:
            yield workshop
        finally:
            (workshop / _HOLDER).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _read_holder(holder: Path) -> str:
    try:
        return holder.read_text("utf-8", "replace")[:20].strip() or "unknown"
    except OSError:
        return "unknown"


def record_success(spec: Spec, moment: datetime) -> None:
    """Record that a run had read all that was missing of a copy, also where that was nothing."""
    path = _path_of(spec)
    with translate_io_errors(path), replace_whole(path) as part:
        part.write_text(f"{format_utc(moment)}\n", "utf-8")


def read_success(spec: Spec) -> datetime | None:
    """Return when a run last succeeded (UTC); None where none has. StorageError if damaged."""
    path = _path_of(spec)
    with translate_io_errors(path):
        text = path.read_text("utf-8") if path.exists() else None
    try:
        return None if text is None else datetime.fromisoformat(text.strip())
    except ValueError:
        raise StorageError(f"{path} can't be read: delete it, and the next successful run writes it anew.") from None


def _path_of(spec: Spec) -> Path:
    return spec.place.work_folder / f"{spec.name}.success"
