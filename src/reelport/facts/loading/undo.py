"""Undo a load in one commit, or plan the undo: rows to remove and to restore, by day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.data_files.duckdb_session import (
    Workspace,
    open_reading_workspace,
    open_workspace,
    parquet_source,
)
from reelport.facts.data_files.projection import in_days
from reelport.facts.data_files.rewriting import count_days, in_batches, rewrite_file
from reelport.facts.data_files.sorted_files import StagedFiles
from reelport.facts.loading.load import commit_staged, count_missing
from reelport.facts.log.commits import Change
from reelport.facts.log.delta_log import TableVersion, read_newest, read_paths, require_intact
from reelport.facts.log.history import Load, active_batches, find_load_to_undo, list_loads, read_history, take_back
from reelport.facts.log.log_entry import DataFile, LogEntry
from reelport.facts.tables import MONTH, find_table
from reelport.wording import format_count


@dataclass(frozen=True, slots=True)
class DayUndone:
    """How many rows of one day an undo removes and restores; `day` is None for objects.

    An object that the load changed counts in both.
    """

    day: date | None
    removed: int
    restored: int


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What undoing a load would do, by day."""

    load: Load
    days: tuple[DayUndone, ...]


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What undoing a load did."""

    table: str
    batch: str
    removed: int
    restored: int
    version: int | None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Files, and the condition (SQL) of their rows that an undo removes or restores."""

    files: tuple[DataFile, ...] = ()
    where: str = "true"


@dataclass(frozen=True, slots=True)
class _UndoChange:
    """The undo of a load at one version of its table: rows to remove, and rows to restore.

    `remains_loaded` is true when another load of the same batch is active.
    """

    remains_loaded: bool
    removed: _Chosen
    restored: _Chosen


def plan_undo(root: Path, batch: str, table: str | None = None) -> UndoPlan:
    """Plan what `undo` would do now. Changes nothing, and raises what `undo` raises."""
    load = find_load_to_undo(list_loads(root, table), batch)
    found = find_table(load.table)
    now = read_newest(root, found)
    with open_reading_workspace(root) as space:
        undoing = _plan_change(space, now, load)
        if not found.is_fact:
            return UndoPlan(load, (DayUndone(None, *_count_objects(space, now, undoing)),))
        removed, restored = (
            count_days(space, found, now.paths(chosen.files), chosen.where)
            for chosen in (undoing.removed, undoing.restored)
        )
    days = sorted(removed.keys() | restored.keys())
    return UndoPlan(load, tuple(DayUndone(day, removed[day], restored[day]) for day in days))


def _count_objects(space: Workspace, now: TableVersion, undoing: _UndoChange) -> tuple[int, int]:
    """Count object rows to remove and restore: unchanged in neither, changed in both."""
    present, former = now.paths(undoing.removed.files), now.paths(undoing.restored.files)
    return count_missing(now.table, present, former, space), count_missing(now.table, former, present, space)


def undo(root: Path, batch: str, table: str | None = None) -> UndoResult:
    """Undo the newest active load of the batch, given by its name or the beginning of it.

    This removes exactly the load's rows, whichever files they are in by now. Undoing a replacement also restores what
    it replaced. Raises UsageError when the load can't be undone; then nothing has changed.
    """
    return undo_load(root, find_load_to_undo(list_loads(root, table), batch))


def undo_load(root: Path, load: Load) -> UndoResult:
    """Undo this load, as `undo` does; UsageError when it is undone already."""
    found = find_table(load.table)
    counts: list[tuple[int, int]] = []
    with open_workspace(root) as space:

        def propose(now: TableVersion, staged: StagedFiles) -> Change:
            undoing = _plan_change(space, now, load)
            removed, restored = undoing.removed, undoing.restored
            for file in removed.files if found.is_fact else ():
                rewrite_file(space, staged, now, file, f"NOT ({removed.where})")
            kept = _sum_rows(staged.finish())
            for file in restored.files:
                rewrite_file(space, staged, now, file, restored.where)
            adds = staged.finish()
            count = _sum_rows(removed.files) - kept, _sum_rows(adds) - kept
            counts.append(count if found.is_fact else _count_objects(space, now, undoing))
            restated = None if load.replaced is None else take_back(now, load.version)
            entry = LogEntry("undo", load.batch, counts[-1][0], days=load.days, undoes=load.version, restated=restated)
            return Change(entry, adds, removed.files, loaded=undoing.remains_loaded)

        version = commit_staged(root, found, propose, space)
    return UndoResult(load.table, load.batch, *counts[-1], version)


def _sum_rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _plan_change(space: Workspace, now: TableVersion, load: Load) -> _UndoChange:
    history = read_history(now)
    if not any(one.version == load.version and not one.undone for one in history):
        raise UsageError(f"batch {load.batch} of {load.table} is undone already")
    others = [one for one in history if one.version != load.version]
    remains_loaded = load.batch in active_batches(others)
    if not now.table.is_fact:
        _refuse_if_changed_later(load, [one for one in others if one.version > load.version and not one.undone])
        return _UndoChange(remains_loaded, _Chosen(now.files), _Chosen(_find_replaced_files(now, load)))
    restored = _Chosen() if load.replaced is None else _find_replaced_rows(now, load, load.replaced, others)
    return _UndoChange(remains_loaded, _find_own_rows(space, now, load), restored)


def _find_own_rows(space: Workspace, now: TableVersion, load: Load) -> _Chosen:
    span = load.replaced or ((min(load.days), max(load.days)) if load.days else None)
    near = [file for file in now.files if span is not None and file.touches(*span)]
    if span is None or not near:
        return _Chosen()
    require_intact(now, near)
    where, paths = f"{in_batches([load.batch])} AND {in_days(now.table, *span)}", now.paths(near)
    source = parquet_source(paths, filename="'_file'")
    found = space.session.execute(f"SELECT DISTINCT _file FROM {source} WHERE {where}").fetchall()  # noqa: S608 - quoted
    own = {path for (path,) in found}
    return _Chosen(tuple(file for file, path in zip(near, paths, strict=True) if path in own), where)


def _find_replaced_rows(now: TableVersion, load: Load, span: tuple[date, date], others: Sequence[Load]) -> _Chosen:
    later = [one for one in others if one.version > load.version and not one.undone and one.touches(*span)]
    _refuse_if_changed_later(load, later)
    gone = {one.batch for one in (load, *others)} - active_batches(others)
    standing = f" AND NOT {in_batches(gone)}" if gone else ""
    return _Chosen(_find_replaced_files(now, load), in_days(now.table, *span) + standing)


def _refuse_if_changed_later(load: Load, later: list[Load]) -> None:
    if later:
        listed = ", ".join(one.batch for one in later[:5])
        raise UsageError(
            f"batch {load.batch} can't be undone: {format_count(len(later), 'later load')} changed the same rows "
            f"({listed}); undo those first, newest first"
        )


def _find_replaced_files(now: TableVersion, load: Load) -> tuple[DataFile, ...]:
    """Find the files that the load replaced; UsageError when vacuum has deleted any of them."""
    paths = read_paths(now, load.version, "remove")
    deleted = [path for path in paths if now.store.find(path) is None]
    if deleted:
        raise UsageError(
            f"batch {load.batch} can't be undone: what it replaced was vacuumed "
            f"({format_count(len(deleted), 'file')} of it); load the former rows again with --replace-days"
        )
    months = [Path(path).parent.name.partition(f"{MONTH}=")[2] for path in paths]
    files = tuple(DataFile(path, 0, 0, month or None) for path, month in zip(paths, months, strict=True))
    require_intact(now, files)
    return files
