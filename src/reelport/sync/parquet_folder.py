"""Parquet folder as destination: each spec's versions, and a link to the last.

    FOLDER/views/current -> versions/20261125T140000-3f2a
    FOLDER/views/versions/20261125T140000-3f2a/2026-11-24.3f2a.0.parquet, …, manifest.json

Each window makes a new version, which is written whole before the link points to it, and is never changed. Where links
can't be made, on a Windows without the right to, `current` is a file that holds the version's name. Files of days
outside of the window are hard-linked from the version before. A file's name holds the id of the version that wrote it:
a reader that lists `current` before a change and opens files after it finds the same rows or no file, never others.
"""

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
from reelport.client.files.locks import POSIX, rename_into_place
from reelport.errors import NewerData, StorageError, UsageError
from reelport.killpoints import reach
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.contract import (
    Agreement,
    View,
    agree,
    refuse_emptied,
    replaced_span,
    select_stamped,
    time_field,
)
from reelport.sync.events import Loaded
from reelport.sync.spec import Days, Place, Spec, month_first
from reelport.sync.staging import OWN, Delivery, Field, count_rows, day_sql, load_stage, open_duckdb
from reelport.sync.verified_days import State

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CURRENT = "current"
VERSIONS = "versions"
_KEPT_SECONDS = 3600.0  # how long a version stays after it was replaced, for programs that still read it
MANIFEST = "manifest.json"
_FORMAT = 1


class ParquetFolder:
    """A folder as a destination."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def state(self, spec: Spec) -> State:
        """Return the state of a spec's copy; the empty state when there is none."""
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
        """Replace the delivery's window: write a new version, then point the link to it."""
        home = self._place.path / spec.name
        current, old = self._read_version(spec) or (home, None)
        with open_duckdb(self._place.work_folder / "spill") as con, translate_io_errors(home):
            con.execute("SET threads = 1")  # so that rows keep their order
            staged = load_stage(con, delivery.file)
            agreement = agree(spec, old.fields if old else (), staged, delivery.window)
            rows = staged.count(agreement.rows)
            gone, stays = _split_files(spec, old, delivery)
            before = sum(file.rows for file in gone)
            refuse_emptied(spec, delivery, before, rows, allow_empty=allow_empty)
            with _LoadedVersion(home, con, spec, agreement) as version:
                version.write(delivery)
                if old is not None:
                    version.take_over(current, old, stays)
                reach("sync-written")
                version.finish((old.state if old else State()).after(spec, delivery))
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
                _link_or_copy(current / file.name, made.part / file.name)
            made.publish(fresh)

    def _current_link(self, spec: Spec) -> Path:
        return self._place.path / spec.name / CURRENT

    def _read_version(self, spec: Spec) -> tuple[Path, Manifest] | None:
        if self._place.path.exists() and not self._place.path.is_dir():
            raise UsageError(f"{self._place} is a file: a destination for Parquet is a folder.")
        folder = _read_link(self._current_link(spec))
        if folder is None:
            return None
        if not folder.exists():
            current = self._current_link(spec)
            advice = f"Delete {current}, and `reelport sync run` reads every day again."
            raise StorageError(f"{current} points to a version that is gone: was it removed by hand? {advice}")
        return folder, Manifest.read(folder)


class _Version:
    """A version being written; until complete, its folder's name begins with a dot."""

    def __init__(self, home: Path) -> None:
        self.id = secrets.token_hex(4)
        self._home = home
        self._name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{self.id}"  # names sort by time
        self.part = home / VERSIONS / f".{self._name}"
        self.part.mkdir(parents=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.part, ignore_errors=True)  # it has its own name by now, or is of no use

    def publish(self, manifest: Manifest) -> None:
        """Complete the version durably, and point the link to it."""
        manifest.write(self.part)
        _fsync_path(self.part)
        self.part.rename(self._home / VERSIONS / self._name)
        _fsync_path(self._home / VERSIONS)
        reach("sync-version")
        _point_link(self._home / CURRENT, f"{VERSIONS}/{self._name}")
        reach("sync-committed")
        _remove_old_versions(self._home)


class _LoadedVersion(_Version):
    def __init__(self, home: Path, con: DuckDBPyConnection, spec: Spec, agreement: Agreement) -> None:
        super().__init__(home)
        self._con = con
        self._spec = spec
        self._agreement = agreement
        self._files: list[DataFile] = []

    def write(self, delivery: Delivery) -> None:
        time = time_field(self._spec, self._agreement.fields)
        rows = select_stamped(self._spec, delivery, self._agreement)
        day = day_sql(time)
        self._con.execute(
            f"COPY (SELECT *, {day} AS _day FROM ({rows})) TO {quote_text(str(self.part))} "  # noqa: S608 - all of it is quoted
            "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (_day), OVERWRITE_OR_IGNORE)"
        )
        for folder in sorted(self.part.glob("_day=*")):
            for number, file in enumerate(sorted(folder.iterdir())):
                self._adopt(file, date.fromisoformat(folder.name.partition("=")[2]), number)
            folder.rmdir()

    def take_over(self, current: Path, old: Manifest, stays: list[DataFile]) -> None:
        """Take the version before's unchanged files: hard links, or rewritten columns."""
        fields = self._agreement.fields
        for number, file in enumerate(stays):
            if old.fields == fields:
                _link_or_copy(current / file.name, self.part / file.name)
                self._files.append(file)
                continue
            kept = {field.name for field in old.fields}
            columns = ", ".join([*map(quote_name, OWN), *(_cast_or_null(field, kept) for field in fields)])
            fresh = self.part / f"rewritten-{number}"
            self._copy(f"SELECT {columns} FROM {_read_parquet_sql(current, [file.name])}", fresh)  # noqa: S608 - quoted
            self._adopt(fresh, file.day, number)

    def finish(self, state: State) -> None:
        if not self._files:
            # An empty file, so that reading the folder gives columns and no rows instead of an error.
            columns = [Field(name, kind) for name, kind in OWN.items()] + list(self._agreement.fields)
            nulls = ", ".join(_cast_or_null(field, set()) for field in columns)
            self._copy(f"SELECT {nulls} WHERE false", self.part / "empty")
            self._adopt(self.part / "empty", self._spec.start, 0)
        files = tuple(sorted(self._files, key=lambda file: file.name))
        time = time_field(self._spec, self._agreement.fields)
        self.publish(Manifest(self._spec.name, time.name, state, self._agreement.fields, files))

    def _copy(self, select: str, to: Path) -> None:
        self._con.execute(f"COPY ({select}) TO {quote_text(str(to))} (FORMAT parquet, COMPRESSION zstd)")

    def _adopt(self, file: Path, day: date, number: int) -> None:
        name = f"{day}.{self.id}.{number}.parquet"
        file.rename(self.part / name)
        _fsync_path(self.part / name)
        self._files.append(DataFile(name, day, count_rows(self._con, _read_parquet_sql(self.part, [name]))))


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
