"""Copies in a folder of Parquet files: a folder a spec, in it a version after each window, and a link to the last.

    FOLDER/views/current -> versions/20261125T140000-3f2a
    FOLDER/views/versions/20261125T140000-3f2a/2026-11-24.3f2a.0.parquet, …, manifest.json

A version is written whole before the link points to it, and is never changed. Where links can't be made, on a Windows
without the right to, `current` is a file that holds the version's name instead. Days that a window leaves
alone are the same files as before, under one more name. Files are named for the version that wrote them: a
reader that lists `current` before and opens after a change finds the same rows, or no file; never others.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from reelport.client.files.part import translate_io_errors
from reelport.errors import StorageError, UsageError
from reelport.killpoints import reach
from reelport.sync.columns import OWN, Field, day_of, literal, quoted
from reelport.sync.contract import Agreement, agree, time_of
from reelport.sync.copies import Replaced, View, guard, replaced, stamped
from reelport.sync.copy_state import State
from reelport.sync.days import Days, month_first
from reelport.sync.durable_files import point, pointed, share, synced
from reelport.sync.manifest import NAME, DataFile, Manifest
from reelport.sync.spec import Place, Spec
from reelport.sync.staging import Delivery, engine, stage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CURRENT = "current"
VERSIONS = "versions"

_KEPT_SECONDS = 3600.0
"""How long a version stays after it was replaced, for whoever is still reading it."""


class ParquetFolder:
    """A folder as a destination."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def state(self, spec: Spec) -> State:
        """What it holds of a spec; the empty state when nothing."""
        manifest = self._manifest(spec)
        if manifest is None:
            return State()
        return manifest.state.trusted(spec, max((file.day for file in manifest.files if file.rows), default=None))

    @contextmanager
    def view(self, spec: Spec) -> Iterator[View | None]:
        """The copy of a spec, for reading; None while there is none."""
        manifest, folder = self._manifest(spec), self._version(spec)
        if manifest is None or folder is None:
            yield None
            return
        with engine(self._place.workshop / "spill") as con:
            yield View(con, _relation(folder, [file.name for file in manifest.files]), manifest.fields)

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Replaced:
        """Put a delivery in the place of its window: write a new version, then let the link point to it."""
        home = self._place.path / spec.name
        old, current = self._manifest(spec), self._version(spec)
        with engine(self._place.workshop / "spill") as con, translate_io_errors(home):
            con.execute("SET threads = 1")  # so that rows keep their order
            staged = stage(con, delivery.file)
            agreement = agree(spec, old.fields if old else (), staged, delivery.window)
            rows = staged.count(agreement.rows)
            gone, stays = _parted(spec, old, delivery)
            before = sum(file.rows for file in gone)
            guard(spec, delivery, before, rows, allow_empty=allow_empty)
            with _Version(con, home, spec, agreement) as version:
                version.write(delivery)
                if old is not None and current is not None:
                    version.take_over(current, old, stays)
                reach("sync-written")
                version.finish((old.state if old else State()).after(spec, delivery))
            reach("sync-version")
            point(self._current(spec), f"{VERSIONS}/{version.name}")
            reach("sync-committed")
            sweep(home)
        return Replaced(before, rows, agreement.notes)

    def doubt(self, spec: Spec, days: Days | None = None) -> None:
        """Take none of these days, or no day, of a spec as verified any more: a version of the same files says so."""
        old, current, home = self._manifest(spec), self._version(spec), self._place.path / spec.name
        if old is None or current is None or old.state.doubted(days) == old.state:
            return
        with translate_io_errors(home):
            name = _name(secrets.token_hex(4))
            part = home / VERSIONS / f".{name}"
            part.mkdir()
            try:
                for file in old.files:
                    share(current / file.name, part / file.name)
                replace(old, state=old.state.doubted(days)).write(part)
                _publish(part, home, name)
            finally:
                shutil.rmtree(part, ignore_errors=True)  # it has its own name by now, or is of no use
            point(self._current(spec), f"{VERSIONS}/{name}")
            sweep(home)

    def _current(self, spec: Spec) -> Path:
        return self._place.path / spec.name / CURRENT

    def _version(self, spec: Spec) -> Path | None:
        """The folder of the last version, be it there or not; None while there is no copy."""
        return pointed(self._current(spec))

    def _manifest(self, spec: Spec) -> Manifest | None:
        if self._place.path.exists() and not self._place.path.is_dir():
            raise UsageError(f"{self._place} is a file: a destination for Parquet is a folder.")
        version = self._version(spec)
        if version is not None and not version.exists():
            raise StorageError(f"{self._current(spec)} points to a version that is gone: was it removed by hand?")
        return None if version is None else Manifest.read(version)


class _Version:
    """A version in the making. Its folder has a leading dot until it is whole."""

    def __init__(self, con: DuckDBPyConnection, home: Path, spec: Spec, agreement: Agreement) -> None:
        self._con = con
        self._spec = spec
        self._agreement = agreement
        self._id = secrets.token_hex(4)
        self.name = _name(self._id)
        self._home = home
        self._part = home / VERSIONS / f".{self.name}"
        self._part.mkdir(parents=True)
        self._files: list[DataFile] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._part, ignore_errors=True)  # it has its own name by now, or is of no use

    def write(self, delivery: Delivery) -> None:
        """The delivery's rows, a file a day or more."""
        time = time_of(self._spec, self._agreement.fields)
        rows = stamped(self._spec, delivery, self._agreement)
        day = day_of(quoted(time.name), time.type)
        self._con.execute(
            f"COPY (SELECT *, {day} AS _day FROM ({rows})) TO {literal(str(self._part))} "  # noqa: S608 - all of it is quoted
            "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (_day), OVERWRITE_OR_IGNORE)"
        )
        for folder in sorted(self._part.glob("_day=*")):
            for number, file in enumerate(sorted(folder.iterdir())):
                self._adopt(file, date.fromisoformat(folder.name.partition("=")[2]), number)
            folder.rmdir()

    def take_over(self, current: Path, old: Manifest, stays: list[DataFile]) -> None:
        """The files that stay: by one more name, or written anew where the columns have changed."""
        fields = self._agreement.fields
        for number, file in enumerate(stays):
            if old.fields == fields:
                share(current / file.name, self._part / file.name)
                self._files.append(file)
                continue
            kept = {field.name for field in old.fields}
            columns = ", ".join([*map(quoted, OWN), *(_as(field, kept) for field in fields)])
            fresh = self._part / f"rewritten-{number}"
            self._copy(f"SELECT {columns} FROM {_relation(current, [file.name])}", fresh)  # noqa: S608 - quoted
            self._adopt(fresh, file.day, number)

    def finish(self, state: State) -> None:
        """Make it whole and durable, and give it its name."""
        if not self._files:
            # Whoever reads the folder finds columns, not an error, where there are no rows.
            columns = [Field(name, kind) for name, kind in OWN.items()] + list(self._agreement.fields)
            nulls = ", ".join(_as(field, set()) for field in columns)
            self._copy(f"SELECT {nulls} WHERE false", self._part / "empty")
            self._adopt(self._part / "empty", self._spec.start, 0)
        files = tuple(sorted(self._files, key=lambda file: file.name))
        time = time_of(self._spec, self._agreement.fields)
        Manifest(self._spec.name, time.name, state, self._agreement.fields, files).write(self._part)
        _publish(self._part, self._home, self.name)

    def _copy(self, select: str, to: Path) -> None:
        self._con.execute(f"COPY ({select}) TO {literal(str(to))} (FORMAT parquet, COMPRESSION zstd)")

    def _adopt(self, file: Path, day: date, number: int) -> None:
        name = f"{day}.{self._id}.{number}.parquet"
        file.rename(self._part / name)
        synced(self._part / name)
        found = self._con.execute(f"SELECT count(*) FROM {_relation(self._part, [name])}").fetchone()  # noqa: S608 - quoted
        self._files.append(DataFile(name, day, int(found[0]) if found else 0))


def _name(identity: str) -> str:
    """The name of a version that begins now: they sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{identity}"


def _publish(part: Path, home: Path, name: str) -> None:
    """Give a version that is whole its name, durably."""
    synced(part)
    part.rename(home / VERSIONS / name)
    synced(home / VERSIONS)


def sweep(home: Path, now: float | None = None) -> None:
    """Remove versions that were replaced a while ago, and those that never were whole."""
    now = time.time() if now is None else now
    current = pointed(home / CURRENT)
    whole = sorted(path for path in (home / VERSIONS).glob("*") if not path.name.startswith("."))
    for folder in (home / VERSIONS).glob(".*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder, successor in pairwise(whole):
        if folder != current and now - successor.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _parted(spec: Spec, old: Manifest | None, delivery: Delivery) -> tuple[list[DataFile], list[DataFile]]:
    """The files of the window that go, and those that stay: of another meaning only what a window will replace."""
    if old is None:
        return [], []
    days = Days.between(delivery.window.start, delivery.window.end)
    if spec.monthly:
        days |= Days.between(month_first(delivery.window.start), delivery.window.end)
    # Files whose days were told by another column would stay beside the new ones, and say the same once more.
    told = old.time == spec.time
    gone = [file for file in old.files if not told or file.day in days or not file.rows]
    kept = old.state.fits(spec, delivery.service)
    wanted = Days.between(*replaced(spec, delivery))
    return gone, [file for file in old.files if file not in gone and (kept or file.day in wanted)]


def _relation(folder: Path, names: list[str]) -> str:
    """The rows of files as SQL. Folders named `key=value` say nothing of the rows in them."""
    listed = ", ".join(literal(str(folder / name)) for name in names)
    return f"read_parquet([{listed}], hive_partitioning = false)"


def _as(field: Field, kept: set[str]) -> str:
    value = quoted(field.name) if field.name in kept else "NULL"
    return f"CAST({value} AS {field.type}) AS {quoted(field.name)}"


__all__ = ["CURRENT", "NAME", "VERSIONS", "ParquetFolder", "sweep"]
