"""Hands rollups on through a compaction, and deletes what is of no use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from reelport.facts.log.data_file import DataFile
from reelport.facts.log.delta_log import read_newest
from reelport.facts.rollups.definition import FOLDER, list_rollups
from reelport.facts.rollups.segments import (
    DATA,
    Files,
    Segment,
    SegmentDay,
    delete_manifests,
    list_files_by_day,
    list_segments,
    write_manifest,
)
from reelport.facts.schema import find_table
from reelport.storage.digests import CheckedFiles, check_files
from reelport.storage.durable import translate_io_errors
from reelport.storage.folder_lock import lock_folder
from reelport.storage.modes import private


@dataclass(frozen=True, slots=True)
class SweptRollups:
    """How many files of rollups a sweep deleted, and bytes of them."""

    files: int
    bytes: int


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


def sweep(root: Path, before: datetime) -> SweptRollups:
    """Delete manifests that no report can need any more, and files that no manifest names.

    That is what no day of the newest version can be read from, if written before `before`: reports that pinned an
    older version may still run.
    """
    with keep_segments(root), translate_io_errors(root / FOLDER):
        _forget_outdated(root, before)
        named = {segment.data for rollup in list_rollups(root) for segment in list_segments(root, rollup)}
        old = [path for path in _list_files(root) if path not in named and _is_older(path, before)]
        size = _measure(old)
        for path in old:
            path.unlink(missing_ok=True)
        _delete_empty_folders(root)
    return SweptRollups(len(old), size)


def _forget_outdated(root: Path, before: datetime) -> None:
    for rollup in list_rollups(root):
        newest = list_files_by_day(read_newest(root, find_table(rollup.table)).files)
        delete_manifests(
            segment
            for segment in list_segments(root, rollup)
            if _is_older(segment.manifest, before) and not segment.valid_days(newest)
        )


def _list_files(root: Path) -> list[Path]:
    """List the files of data, whole or unfinished, in the folders of rollups, known or not."""
    return [path for path in (root / FOLDER).glob("*/*") if path.suffix in {DATA, ".part"}]


def _delete_empty_folders(root: Path) -> None:
    for folder in (root / FOLDER).glob("*"):
        with suppress(OSError):  # it has files
            folder.rmdir()


def check_rollups(root: Path) -> CheckedFiles:
    """Compare the files of all rollups with the digests that their manifests record."""
    segments = (segment for rollup in list_rollups(root) for segment in list_segments(root, rollup))
    return check_files({segment.data: segment.digest for segment in segments}.items())


def measure_rollups(root: Path) -> int:
    """Add up the bytes of all rollups, of files that are no longer used too."""
    with translate_io_errors(root / FOLDER):
        return _measure(_list_files(root))


def _is_older(path: Path, before: datetime) -> bool:
    """Whether the file is there and was written before this moment."""
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
