"""Rollups as files: what each sums up, its segments, and the data files behind their days.

A rollup lies in a folder of its own. Its segments are Parquet files, with manifests of the data files behind them.
A segment's rows are summed by day, and a manifest records for each day which data files could hold its rows when it
was built. The day is right for every version of the table in which exactly these files can, and for no other. Every
day that has rows in the file is listed, be it right for no version any more. A compaction hands rollups on, and a
sweep deletes what is of no use.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from reelport.catalog import Grain
from reelport.errors import UsageError
from reelport.facts.log.log_entry import DataFile
from reelport.facts.tables import TABLES, find_table
from reelport.storage.digests import CheckedFiles, check_files
from reelport.storage.durable import make_folder, private, replace_file, translate_io_errors
from reelport.storage.locked_folders import lock_folder

FOLDER = ".rollups"
"""The folder under the tables' root that holds rollups; it may be deleted at any time."""
_DEFINITION = "rollup.json"
_GRAINS = {Grain.DAY: "day", Grain.HOUR: "hour"}
DATA = ".parquet"
_MANIFEST = ".json"

Files = frozenset[str]
"""Names of data files, relative to their table's folder. No name is ever used again."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """A rollup's definition: rows of a fact table, summed by time and by these columns.

    The columns are sorted. Those that decide whose a row is are always kept beside them (`engine.rollups.columns`).
    """

    table: str
    grain: Grain
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The rollup's name, by which commands and the log know it, and of its folder."""
        digest = hashlib.sha256(json.dumps(self.columns).encode()).hexdigest()[:6]
        return f"{self.table}-{_GRAINS[self.grain]}-{digest}"

    def folder(self, root: Path) -> Path:
        """The rollup's folder in the tables' root."""
        return root / FOLDER / self.name


@private()
def add_rollup(root: Path, rollup: Rollup) -> bool:
    """Record the rollup, so that builds know it. False when it is known already."""
    folder = rollup.folder(root)
    with translate_io_errors(folder):
        if (folder / _DEFINITION).exists():
            return False
        make_folder(folder)
        record = {"table": rollup.table, "grain": _GRAINS[rollup.grain], "columns": rollup.columns}
        replace_file(folder / _DEFINITION, json.dumps(record).encode())
    return True


def list_rollups(root: Path, table: str | None = None) -> tuple[Rollup, ...]:
    """List the recorded rollups, of one table or of all, by name; damaged records are left out."""
    with translate_io_errors(root):
        found = [rollup for path in (root / FOLDER).glob(f"*/{_DEFINITION}") for rollup in _read_definition(path)]
    return tuple(sorted((each for each in found if table in {None, each.table}), key=lambda each: each.name))


def find_rollup(root: Path, name: str) -> Rollup:
    """Find a recorded rollup by name; UsageError when there is none."""
    known = list_rollups(root)
    for rollup in known:
        if rollup.name == name:
            return rollup
    names = ", ".join(rollup.name for rollup in known) or "none"
    raise UsageError(f"there is no rollup {name!r}; there are: {names}")


def drop_rollup(root: Path, rollup: Rollup) -> None:
    """Delete the rollup, its record first; a report that reads it is made again from facts."""
    folder = rollup.folder(root)
    with translate_io_errors(folder):
        (folder / _DEFINITION).unlink(missing_ok=True)
        # Manifests go before what they name.
        for path in sorted(folder.glob("*"), key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # a build that runs has just put a file there: the next sweep deletes it
            folder.rmdir()


def _read_definition(path: Path) -> Iterator[Rollup]:
    """Yield the recorded rollup, unless it can't be read or names unknown tables or columns."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(path.read_bytes())
        grain = {word: grain for grain, word in _GRAINS.items()}[record["grain"]]
        rollup = Rollup(record["table"], grain, tuple(record["columns"]))
        known = {column.name for column in TABLES[rollup.table].columns}
        if rollup.name == path.parent.name and known.issuperset(rollup.columns):
            yield rollup


@dataclass(frozen=True, slots=True)
class SegmentDay:
    """A day of a segment: the data files it was built from, and its rows in the segment."""

    files: Files
    rows: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as one manifest tells it: its file, and its days.

    `identity` is that of the SQL that built it, `digest` that of its file.
    """

    manifest: Path
    data: Path
    identity: str
    days: Mapping[date, SegmentDay]
    digest: str

    def valid_days(self, files_by_day: Mapping[date, Files]) -> frozenset[date]:
        """The days that were built from exactly the files of these."""
        return frozenset(day for day, built in self.days.items() if files_by_day.get(day) == built.files)


@lru_cache(maxsize=64)
def list_files_by_day(files: tuple[DataFile, ...]) -> Mapping[date, Files]:
    """List for each day the files that may hold its rows; nothing if a file tells no days."""
    if any(file.first is None or file.last is None for file in files):
        return MappingProxyType({})
    found: dict[date, set[str]] = {}
    for file in files:
        for number in range((file.last_day - file.first_day).days + 1):
            found.setdefault(file.first_day + timedelta(days=number), set()).add(file.path)
    return MappingProxyType({day: frozenset(names) for day, names in found.items()})


def list_segments(root: Path, rollup: Rollup, identity: str | None = None) -> tuple[Segment, ...]:
    """List the rollup's whole segments, or those of this identity, by name."""
    return tuple(each for each in _list_segments_in(rollup.folder(root)) if identity in {None, each.identity})


def _list_segments_in(folder: Path) -> Iterator[Segment]:
    with translate_io_errors(folder):
        paths = sorted(path for path in folder.glob(f"*-*{_MANIFEST}"))
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            if segment := _read_manifest(path, status.st_ino, status.st_mtime_ns):
                yield segment


@lru_cache(maxsize=4096)
def _read_manifest(path: Path, _inode: int, _modified: int) -> Segment | None:
    """Read a manifest; None when it is damaged."""
    try:
        record = json.loads(path.read_bytes())
        names = [str(name) for name in record["files"]]
        days = {
            date.fromisoformat(day): SegmentDay(frozenset(names[at] for at in places), int(rows))
            for day, (rows, places) in record["days"].items()
        }
        data = path.parent / Path(str(record["data"])).name
        return Segment(path, data, str(record["identity"]), MappingProxyType(days), str(record["sha256"]))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def name_segment(month: str) -> str:
    """Make a new name for a segment of this month, without a suffix."""
    return f"{month}-{secrets.token_hex(6)}"


def write_manifest(data: Path, identity: str, days: Mapping[date, SegmentDay], digest: str) -> Segment:
    """Write a manifest of a segment whose file is durable: from now on it is used."""
    names = sorted(set().union(*(day.files for day in days.values())))
    places = {name: at for at, name in enumerate(names)}
    record: dict[str, object] = {
        "data": data.name,
        "identity": identity,
        "sha256": digest,
        "files": names,
        "days": {
            day.isoformat(): [built.rows, sorted(places[name] for name in built.files)] for day, built in days.items()
        },
    }
    path = data.with_name(f"{data.stem[: len('0000-00')]}-{secrets.token_hex(6)}{_MANIFEST}")
    with translate_io_errors(path):
        replace_file(path, json.dumps(record).encode())
    return Segment(path, data, identity, MappingProxyType(dict(days)), digest)


def delete_manifests(segments: Iterable[Segment]) -> None:
    """Let these segments be used no more; a sweep deletes their files later."""
    for segment in segments:
        with translate_io_errors(segment.manifest):
            segment.manifest.unlink(missing_ok=True)


def forget_files(segments: Iterable[Segment]) -> None:
    """Let the files of these segments be used no more, by whichever manifest."""
    files = {segment.data for segment in segments}
    for folder in {file.parent for file in files}:
        delete_manifests(segment for segment in _list_segments_in(folder) if segment.data in files)


@contextmanager
def keep_segments(root: Path) -> Iterator[None]:
    """Keep sweeps out of the block, in which files are committed and rollups handed on.

    In between, no day of the newest version is built from its files: a sweep would delete what is handed over.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        yield
        return
    with translate_io_errors(folder), lock_folder(folder):
        yield


@private()
def carry_over(root: Path, table: str, before: tuple[DataFile, ...], after: tuple[DataFile, ...]) -> None:
    """Let segments be used after a commit that changed files and no row.

    `before` and `after` are all files of the table's version before that commit and of its own. Days that were right
    before are right after it: each such segment gets another manifest, which names the files of after.
    """
    old, new = list_files_by_day(before), list_files_by_day(after)
    for rollup in list_rollups(root, table):
        for segment in list_segments(root, rollup):
            days = _carry_days(segment, old, new)
            if any(segment.days.get(day) != built for day, built in days.items()):
                write_manifest(segment.data, segment.identity, days, segment.digest)


def _carry_days(segment: Segment, old: Mapping[date, Files], new: Mapping[date, Files]) -> dict[date, SegmentDay]:
    """The days of a segment, with the files in which the rows of those that are right lie now.

    A merged file may span days that no file did before: they have no rows, and are right too, unless the segment has
    rows of them from before. Its other days stay listed, for their rows are still in its file.
    """
    valid = segment.valid_days(old)
    if not valid:
        return {}
    months = {f"{day:%Y-%m}" for day in valid}
    empty = [day for day in new if day not in old and day not in segment.days and f"{day:%Y-%m}" in months]
    kept = {day: replace(segment.days[day], files=new[day]) for day in valid if day in new}
    return dict(sorted((dict(segment.days) | kept | {day: SegmentDay(new[day], 0) for day in empty}).items()))


def sweep(root: Path, before: datetime) -> tuple[int, int]:
    """Delete manifests that no report can need any more, and files that no manifest names.

    Returns how many files it deleted, and their bytes. A manifest is unneeded if no day of the newest version can be
    read from it, and it was written before `before`: reports that pinned an older version may still run.
    """
    with keep_segments(root), translate_io_errors(root / FOLDER):
        from reelport.facts.log.delta_log import read_newest  # noqa: PLC0415 - loads the Delta library

        for rollup in list_rollups(root):
            newest = list_files_by_day(read_newest(root, find_table(rollup.table)).files)
            segments = [each for each in list_segments(root, rollup) if _is_older(each.manifest, before)]
            delete_manifests(segment for segment in segments if not segment.valid_days(newest))
        named = {segment.data for rollup in list_rollups(root) for segment in list_segments(root, rollup)}
        old = [path for path in _list_files(root) if path not in named and _is_older(path, before)]
        size = _measure(old)
        for path in old:
            path.unlink(missing_ok=True)
        for folder in (root / FOLDER).glob("*"):
            with suppress(OSError):  # it has files
                folder.rmdir()
    return len(old), size


def _list_files(root: Path) -> list[Path]:
    """List the files of data, whole or unfinished, in the folders of rollups, known or not."""
    return [path for path in (root / FOLDER).glob("*/*") if path.suffix in {DATA, ".part"}]


def check_rollups(root: Path) -> CheckedFiles:
    """Compare the files of all rollups with the digests that their manifests record."""
    segments = (segment for rollup in list_rollups(root) for segment in list_segments(root, rollup))
    return check_files({segment.data: segment.digest for segment in segments}.items())


def measure_rollups(root: Path) -> int:
    """Add up the bytes of all rollups, of files that are no longer used too."""
    with translate_io_errors(root / FOLDER):
        return _measure(_list_files(root))


def _is_older(path: Path, before: datetime) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < before.timestamp()
    return False


def _measure(paths: Iterable[Path]) -> int:
    """Add up the bytes of files, some of which may vanish meanwhile."""
    size = 0
    for path in paths:
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size
