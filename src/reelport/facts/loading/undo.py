"""Undo a load in one commit, or plan the undo: rows to remove and to restore, by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.data_files.duckdb_session import open_reading_workspace
from reelport.facts.data_files.rewriting import (
    Mask,
    all_of,
    count_days,
    every_row,
    in_batches,
    in_days,
    negate,
    read_batches,
    read_rows,
    rewrite_file,
)
from reelport.facts.data_files.sorted_files import StagedFiles
from reelport.facts.loading.load import count_missing
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import TableVersion, read_newest, read_paths, require_intact
from reelport.facts.log.history import Load, active_batches, find_load_to_undo, list_loads, read_history, take_back
from reelport.facts.log.log_entry import DataFile, LogEntry
from reelport.facts.tables import MONTH, find_table
from reelport.wording import format_count

_Chosen = tuple[DataFile, Mask]
"""A file, and the mask of its rows that an undo removes or restores."""


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
class _UndoChange:
    """The undo of a load at one version of its table: rows to remove, and rows to restore.

    `remains_loaded` is true when another load of the same batch is active.
    """

    remains_loaded: bool
    removed: tuple[_Chosen, ...]
    restored: tuple[_Chosen, ...]


def plan_undo(root: Path, batch: str, table: str | None = None) -> UndoPlan:
    """Plan what `undo` would do now. Changes nothing, and raises what `undo` raises."""
    load = find_load_to_undo(list_loads(root, table), batch)
    found = find_table(load.table)
    now = read_newest(root, found)
    undoing = _plan_change(now, load)
    if not found.is_fact:
        return UndoPlan(load, (DayUndone(None, *_count_objects(root, now, undoing)),))
    removed, restored = _count_by_day(now, undoing.removed), _count_by_day(now, undoing.restored)
    days = sorted(removed.keys() | restored.keys(), key=str)
    return UndoPlan(load, tuple(DayUndone(day, removed[day], restored[day]) for day in days))


def _count_by_day(now: TableVersion, chosen: Iterable[_Chosen]) -> Counter[date | None]:
    counts: Counter[date | None] = Counter()
    for file, mask in chosen:
        counts.update(count_days(now.path(file), now.table, mask))
    return counts


def _count_objects(root: Path, now: TableVersion, undoing: _UndoChange) -> tuple[int, int]:
    """Count object rows to remove and restore: unchanged in neither, changed in both."""
    present, former = (now.paths(file for file, _ in chosen) for chosen in (undoing.removed, undoing.restored))
    with open_reading_workspace(root) as space:
        table = now.table
        return count_missing(table, present, former, space), count_missing(table, former, present, space)


def undo(root: Path, batch: str, table: str | None = None) -> UndoResult:
    """Undo the newest active load of the batch, given by its name or the beginning of it.

    This removes exactly the load's rows, whichever files they are in by now. Undoing a replacement also restores what
    it replaced. Raises UsageError when the load can't be undone; then nothing has changed.
    """
    return undo_load(root, find_load_to_undo(list_loads(root, table), batch))


def undo_load(root: Path, load: Load) -> UndoResult:
    """Undo this load, as `undo` does; UsageError when it is undone already."""
    found = find_table(load.table)
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []
        counts: list[tuple[int, int]] = []

        def propose(now: TableVersion) -> Change:
            undoing = _plan_change(now, load)
            staged = stack.enter_context(StagedFiles(now.folder, found, now.version))
            attempts.append(staged)
            touched, restored = ([file for file, _ in chosen] for chosen in (undoing.removed, undoing.restored))
            require_intact(now, [*touched, *restored] if found.is_fact else restored)
            for file, mask in undoing.removed if found.is_fact else ():
                rewrite_file(staged, now, file, negate(mask))
            kept = _sum_rows(staged.finish())
            for file, mask in undoing.restored:
                if found.is_fact:
                    rewrite_file(staged, now, file, mask)
                    continue
                for rows in read_rows(now.path(file), found):
                    staged.write("rows", None, rows)
            adds = staged.finish()
            count = _sum_rows(touched) - kept, _sum_rows(adds) - kept
            counts.append(count if found.is_fact else _count_objects(root, now, undoing))
            restated = None if load.replaced is None else take_back(now, load.version)
            entry = LogEntry("undo", load.batch, counts[-1][0], days=load.days, undoes=load.version, restated=restated)
            return Change(entry, adds, tuple(touched), loaded=undoing.remains_loaded)

        version = commit(root, found, propose)
        attempts[-1].keep()
    return UndoResult(load.table, load.batch, *counts[-1], version)


def _sum_rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _plan_change(now: TableVersion, load: Load) -> _UndoChange:
    history = read_history(now)
    if not any(one.version == load.version and not one.undone for one in history):
        raise UsageError(f"batch {load.batch} of {load.table} is undone already")
    others = [one for one in history if one.version != load.version]
    remains_loaded = load.batch in active_batches(others)
    if not now.table.is_fact:
        _refuse_if_changed_later(load, [one for one in others if one.version > load.version and not one.undone])
        old = tuple((file, every_row) for file in _find_replaced_files(now, load))
        return _UndoChange(remains_loaded, tuple((file, every_row) for file in now.files), old)
    restored = () if load.replaced is None else _find_replaced_rows(now, load, load.replaced, others)
    return _UndoChange(remains_loaded, _find_own_rows(now, load), restored)


def _find_own_rows(now: TableVersion, load: Load) -> tuple[_Chosen, ...]:
    span = load.replaced or ((min(load.days), max(load.days)) if load.days else None)
    if span is None:
        return ()
    mask = all_of(in_batches(frozenset({load.batch})), in_days(now.table, *span))
    near = (file for file in now.files if file.touches(*span))
    return tuple((file, mask) for file in near if load.batch in read_batches(now.path(file)))


def _find_replaced_rows(
    now: TableVersion, load: Load, span: tuple[date, date], others: Iterable[Load]
) -> tuple[_Chosen, ...]:
    others = tuple(others)
    later = [one for one in others if one.version > load.version and not one.undone and one.touches(*span)]
    _refuse_if_changed_later(load, later)
    gone = frozenset(one.batch for one in (load, *others)) - active_batches(others)
    mask = all_of(in_days(now.table, *span), negate(in_batches(gone)))
    return tuple((file, mask) for file in _find_replaced_files(now, load))


def _refuse_if_changed_later(load: Load, later: list[Load]) -> None:
    if later:
        listed = ", ".join(one.batch for one in later[:5])
        raise UsageError(
            f"batch {load.batch} can't be undone: {format_count(len(later), 'later load')} changed the same rows "
            f"({listed}); undo those first, newest first"
        )


def _find_replaced_files(now: TableVersion, load: Load) -> list[DataFile]:
    """Find the files that the load replaced; UsageError when vacuum has deleted any of them."""
    paths = read_paths(now, load.version, "remove")
    deleted = [path for path in paths if now.store.find(path) is None]
    if deleted:
        raise UsageError(
            f"batch {load.batch} can't be undone: what it replaced was vacuumed "
            f"({format_count(len(deleted), 'file')} of it); load the former rows again with --replace-days"
        )
    months = [Path(path).parent.name.partition(f"{MONTH}=")[2] for path in paths]
    return [DataFile(path, 0, 0, month or None) for path, month in zip(paths, months, strict=True)]
