"""A rollup's segments: Parquet files, with manifests of the data files behind them.

A segment's rows are summed by day, and a manifest records for each day which data files could hold its rows when it
was built. The day is right for every version of the table in which exactly these files can, and for no other. Every
day that has rows in the file is listed, be it right for no version any more.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from reelport.facts.log.data_file import DataFile
from reelport.facts.rollups.definition import Rollup
from reelport.storage.durable import replace_file, translate_io_errors

DATA = ".parquet"
_MANIFEST = ".json"

Files = frozenset[str]
"""Names of data files, relative to their table's folder. No name is ever used again."""


@dataclass(frozen=True, slots=True)
class SegmentDay:
    """A day of a segment: the data files it was built from, and its rows in the segment."""

    files: Files
    rows: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as one manifest tells it: its file, and its days.

    `identity` is that of the SQL that built it, `digest` that of its file; an older version recorded none.
    """

    manifest: Path
    data: Path
    identity: str
    days: Mapping[date, SegmentDay]
    digest: str | None = None

    def valid_days(self, files_by_day: Mapping[date, Files]) -> frozenset[date]:
        """The days that were built from exactly the files of these."""
        return frozenset(day for day, built in self.days.items() if files_by_day.get(day) == built.files)


@lru_cache(maxsize=64)
def list_files_by_day(files: tuple[DataFile, ...]) -> Mapping[date, Files]:
    """List for each day the files of a table's version that may hold rows of it.

    No day is listed where a file, of another tool's, doesn't tell its days.
    """
    if any(file.first is None or file.last is None for file in files):
        return MappingProxyType({})
    found: dict[date, set[str]] = {}
    for file in files:
        for number in range((file.last_day - file.first_day).days + 1):
            found.setdefault(file.first_day + timedelta(days=number), set()).add(file.path)
    return MappingProxyType({day: frozenset(names) for day, names in found.items()})


def list_segments(root: Path, rollup: Rollup, identity: str | None = None) -> tuple[Segment, ...]:
    """List the rollup's segments, or those of this identity alone, by name.

    A manifest that is damaged or vanishes meanwhile is left out: its days are read from the facts.
    """
    return tuple(each for each in _list_in(rollup.folder(root)) if identity in {None, each.identity})


def _list_in(folder: Path) -> Iterator[Segment]:
    with translate_io_errors(folder):
        paths = sorted(path for path in folder.glob(f"*-*{_MANIFEST}"))
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            if segment := _read(path, status.st_ino, status.st_mtime_ns):
                yield segment


@lru_cache(maxsize=4096)
def _read(path: Path, _inode: int, _modified: int) -> Segment | None:
    """Read a manifest; None when it is damaged."""
    try:
        record = json.loads(path.read_bytes())
        names = [str(name) for name in record["files"]]
        days = {
            date.fromisoformat(day): SegmentDay(frozenset(names[at] for at in places), int(rows))
            for day, (rows, places) in record["days"].items()
        }
        data = path.parent / Path(str(record["data"])).name
        digest = str(record["sha256"]) if "sha256" in record else None
        return Segment(path, data, str(record["identity"]), MappingProxyType(days), digest)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def name_segment(month: str) -> str:
    """Make a new name for a segment of this month, without a suffix."""
    return f"{month}-{secrets.token_hex(6)}"


def write_manifest(data: Path, identity: str, days: Mapping[date, SegmentDay], digest: str | None) -> Segment:
    """Write a manifest of a segment whose file is durable: from now on it is used."""
    names = sorted(set().union(*(day.files for day in days.values())))
    places = {name: at for at, name in enumerate(names)}
    record: dict[str, object] = {
        "data": data.name,
        "identity": identity,
        "files": names,
        "days": {
            day.isoformat(): [built.rows, sorted(places[name] for name in built.files)] for day, built in days.items()
        },
    }
    if digest is not None:
        record["sha256"] = digest
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
        delete_manifests(segment for segment in _list_in(folder) if segment.data in files)
