"""Taking back a load: what would go and what would come back, day by day, and the one commit that does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.loading.changes import count_missing
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import DataFile, LogEntry, TableVersion, read_newest, read_removed_paths
from reelport.facts.log.history import Load, active_batches, find_load_to_undo, list_loads, read_history
from reelport.facts.schema import MONTH, find_table
from reelport.facts.storage.duckdb_session import open_reading_workspace
from reelport.facts.storage.rewriting import (
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
from reelport.facts.storage.sorted_files import StagedFiles
from reelport.wording import format_count

_Chosen = tuple[DataFile, Mask]
"""A file, and which of its rows are meant."""


@dataclass(frozen=True, slots=True)
class DayUndone:
    """How many rows of a day an undo takes away and gives back; rows of objects lie on no day.

    An object that was another before counts in both.
    """

    day: date | None
    removed: int
    restored: int


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What taking back a load would do, day by day."""

    load: Load
    days: tuple[DayUndone, ...]


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What taking back a load did."""

    table: str
    batch: str
    removed: int
    restored: int
    version: int | None


@dataclass(frozen=True, slots=True)
class _UndoChange:
    """A load that is to be taken back at one version: the rows that go, and those that come back."""

    load: Load
    stands_still: bool
    taken: tuple[_Chosen, ...]
    given: tuple[_Chosen, ...]


def plan_undo(root: Path, batch: str, table: str | None = None) -> UndoPlan:
    """What `undo` would do now; it changes nothing, and raises what `undo` raises."""
    load = find_load_to_undo(list_loads(root, table), batch)
    found = find_table(load.table)
    now = read_newest(root, found)
    undoing = _plan_change(now, load)
    if not found.is_fact:
        return UndoPlan(load, (DayUndone(None, *_count_objects(root, now, undoing)),))
    removed, restored = _count_by_day(now, undoing.taken), _count_by_day(now, undoing.given)
    days = sorted(removed.keys() | restored.keys(), key=str)
    return UndoPlan(load, tuple(DayUndone(day, removed[day], restored[day]) for day in days))


def _count_by_day(now: TableVersion, chosen: Iterable[_Chosen]) -> Counter[date | None]:
    counts: Counter[date | None] = Counter()
    for file, mask in chosen:
        counts.update(count_days(now.folder / file.path, now.table, mask))
    return counts


def _count_objects(root: Path, now: TableVersion, undoing: _UndoChange) -> tuple[int, int]:
    """How many rows go and come: one that is the same before and after does neither, one that changes does both."""
    present, former = (
        [str((now.folder / file.path).absolute()) for file, _ in chosen] for chosen in (undoing.taken, undoing.given)
    )
    with open_reading_workspace(root) as space:
        table = now.table
        return count_missing(table, present, former, space), count_missing(table, former, present, space)


def undo(root: Path, batch: str, table: str | None = None) -> UndoResult:
    """Take back the newest standing load of the batch, named whole or by its beginning.

    A load loses exactly its rows, wherever they lie by now. A replacement also gives back
    what it replaced, as long as the old files are there and no later load touched these
    days. Raises UsageError when it can't be done; then nothing changed.
    """
    return undo_load(root, find_load_to_undo(list_loads(root, table), batch))


def undo_load(root: Path, load: Load) -> UndoResult:
    """Take back this very load, as `undo` does; UsageError when it doesn't stand any more."""
    found = find_table(load.table)
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []
        counts: list[tuple[int, int]] = []

        def propose(now: TableVersion) -> Change:
            undoing = _plan_change(now, load)
            writing = stack.enter_context(StagedFiles(now.folder, found))
            attempts.append(writing)
            touched = tuple(file for file, _ in undoing.taken)
            for file, mask in undoing.taken if found.is_fact else ():
                rewrite_file(writing, found, now.folder, file, negate(mask))
            left = _sum_rows(writing.finish())
            _restore(now, undoing.given, writing)
            adds = writing.finish()
            removed, restored = _sum_rows(touched) - left, _sum_rows(adds) - left
            if not found.is_fact:
                removed, restored = _count_objects(root, now, undoing)
            counts.append((removed, restored))
            days = tuple(day.isoformat() for day in load.days)
            entry = LogEntry("undo", load.batch, removed, days=days, undoes=load.version)
            return Change(entry, adds, touched, loaded=undoing.stands_still)

        version = commit(root, found, propose)
        attempts[-1].keep()
    return UndoResult(load.table, load.batch, *counts[-1], version)


def _sum_rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _restore(now: TableVersion, given: Iterable[_Chosen], writing: StagedFiles) -> None:
    for file, mask in given:
        if now.table.is_fact:
            rewrite_file(writing, now.table, now.folder, file, mask)
        else:
            for rows in read_rows(now.folder / file.path, now.table):
                writing.write("rows", None, rows)


def _plan_change(now: TableVersion, load: Load) -> _UndoChange:
    history = read_history(now)
    if not any(one.version == load.version and not one.undone for one in history):
        raise UsageError(f"batch {load.batch} of {load.table} is undone already")
    others = [one for one in history if one.version != load.version]
    stands_still = load.batch in active_batches(others)
    if not now.table.is_fact:
        _refuse_if_changed_later(load, [one for one in others if one.version > load.version and not one.undone])
        old = tuple((file, every_row) for file in _find_replaced_files(now, load))
        return _UndoChange(load, stands_still, tuple((file, every_row) for file in now.files), old)
    given = () if load.replaced is None else _find_replaced_rows(now, load, load.replaced, others)
    return _UndoChange(load, stands_still, _find_own_rows(now, load), given)


def _find_own_rows(now: TableVersion, load: Load) -> tuple[_Chosen, ...]:
    """The files that hold rows of the load."""
    span = load.replaced or ((min(load.days), max(load.days)) if load.days else None)
    if span is None:
        return ()
    mask = all_of(in_batches(frozenset({load.batch})), in_days(now.table, *span))
    near = (file for file in now.files if file.touches(*span))
    return tuple((file, mask) for file in near if load.batch in read_batches(now.folder / file.path))


def _find_replaced_rows(
    now: TableVersion, load: Load, span: tuple[date, date], others: Iterable[Load]
) -> tuple[_Chosen, ...]:
    """The rows that the load put others in the place of, but those of batches that were undone meanwhile."""
    others = tuple(others)
    later = [one for one in others if one.version > load.version and not one.undone and one.touches(*span)]
    _refuse_if_changed_later(load, later)
    gone = frozenset(one.batch for one in (load, *others)) - active_batches(others)
    mask = all_of(in_days(now.table, *span), negate(in_batches(gone)))
    return tuple((file, mask) for file in _find_replaced_files(now, load))


def _refuse_if_changed_later(load: Load, later: list[Load]) -> None:
    if later:
        told = ", ".join(one.batch for one in later[:5])
        raise UsageError(
            f"batch {load.batch} can't be undone: {format_count(len(later), 'later load')} changed the same rows "
            f"({told}); undo those first, newest first"
        )


def _find_replaced_files(now: TableVersion, load: Load) -> list[DataFile]:
    """The files that the load put others in the place of."""
    paths = read_removed_paths(now.folder, load.version)
    lost = [path for path in paths if not (now.folder / path).is_file()]
    if lost:
        raise UsageError(
            f"batch {load.batch} can't be undone: what it replaced was vacuumed "
            f"({format_count(len(lost), 'file')} of it); load the former rows again with --replace-days"
        )
    return [DataFile(path, 0, 0, _parse_month(path)) for path in paths]


def _parse_month(path: str) -> str | None:
    folder = Path(path).parent.name
    return folder.removeprefix(f"{MONTH}=") if folder.startswith(f"{MONTH}=") else None
