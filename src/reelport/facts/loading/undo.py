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
from reelport.facts.log.delta_log import Current, DataFile, Entry, current, removed_by
from reelport.facts.log.history import Load, history_of, load_to_undo, loads, standing_batches
from reelport.facts.schema import MONTH, table_named
from reelport.facts.storage.duckdb_session import reading_workspace
from reelport.facts.storage.rewriting import (
    Mask,
    batches_in,
    both,
    count_days,
    every_row,
    of_batches,
    other_than,
    rewrite,
    rows_of,
    within,
)
from reelport.facts.storage.sorted_files import Writing
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
class Undone:
    """What taking back a load did."""

    table: str
    batch: str
    removed: int
    restored: int
    version: int | None


@dataclass(frozen=True, slots=True)
class _Undoing:
    """A load that is to be taken back at one version: the rows that go, and those that come back."""

    load: Load
    stands_still: bool
    taken: tuple[_Chosen, ...]
    given: tuple[_Chosen, ...]


def plan_undo(root: Path, batch: str, table: str | None = None) -> UndoPlan:
    """What `undo` would do now; it changes nothing, and raises what `undo` raises."""
    load = load_to_undo(loads(root, table), batch)
    found = table_named(load.table)
    now = current(root, found)
    undoing = _undoing(now, load)
    if not found.is_fact:
        return UndoPlan(load, (DayUndone(None, *_count_objects(root, now, undoing)),))
    removed, restored = _count(now, undoing.taken), _count(now, undoing.given)
    days = sorted(removed.keys() | restored.keys(), key=str)
    return UndoPlan(load, tuple(DayUndone(day, removed[day], restored[day]) for day in days))


def _count(now: Current, chosen: Iterable[_Chosen]) -> Counter[date | None]:
    counts: Counter[date | None] = Counter()
    for file, mask in chosen:
        counts.update(count_days(now.folder / file.path, now.table, mask))
    return counts


def _count_objects(root: Path, now: Current, undoing: _Undoing) -> tuple[int, int]:
    """How many rows go and come: one that is the same before and after does neither, one that changes does both."""
    present, former = (
        [str((now.folder / file.path).absolute()) for file, _ in chosen] for chosen in (undoing.taken, undoing.given)
    )
    with reading_workspace(root) as space:
        table = now.table
        return count_missing(table, present, former, space), count_missing(table, former, present, space)


def undo(root: Path, batch: str, table: str | None = None) -> Undone:
    """Take back the newest standing load of the batch, named whole or by its beginning.

    A load loses exactly its rows, wherever they lie by now. A replacement also gives back
    what it replaced, as long as the old files are there and no later load touched these
    days. Raises UsageError when it can't be done; then nothing changed.
    """
    return undo_load(root, load_to_undo(loads(root, table), batch))


def undo_load(root: Path, load: Load) -> Undone:
    """Take back this very load, as `undo` does; UsageError when it doesn't stand any more."""
    found = table_named(load.table)
    with ExitStack() as stack:
        attempts: list[Writing] = []
        counts: list[tuple[int, int]] = []

        def propose(now: Current) -> Change:
            undoing = _undoing(now, load)
            writing = stack.enter_context(Writing(now.folder, found))
            attempts.append(writing)
            touched = tuple(file for file, _ in undoing.taken)
            for file, mask in undoing.taken if found.is_fact else ():
                rewrite(writing, found, now.folder, file, other_than(mask))
            left = _rows(writing.finish())
            _give_back(now, undoing.given, writing)
            adds = writing.finish()
            removed, restored = _rows(touched) - left, _rows(adds) - left
            if not found.is_fact:
                removed, restored = _count_objects(root, now, undoing)
            counts.append((removed, restored))
            days = tuple(day.isoformat() for day in load.days)
            entry = Entry("undo", load.batch, removed, days=days, undoes=load.version)
            return Change(entry, adds, touched, loaded=undoing.stands_still)

        version = commit(root, found, propose)
        attempts[-1].keep()
    return Undone(load.table, load.batch, *counts[-1], version)


def _rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _give_back(now: Current, given: Iterable[_Chosen], writing: Writing) -> None:
    for file, mask in given:
        if now.table.is_fact:
            rewrite(writing, now.table, now.folder, file, mask)
        else:
            for rows in rows_of(now.folder / file.path, now.table):
                writing.take("rows", None, rows)


def _undoing(now: Current, load: Load) -> _Undoing:
    history = history_of(now)
    if not any(one.version == load.version and not one.undone for one in history):
        raise UsageError(f"batch {load.batch} of {load.table} is undone already")
    others = [one for one in history if one.version != load.version]
    stands_still = load.batch in standing_batches(others)
    if not now.table.is_fact:
        _refuse_later(load, [one for one in others if one.version > load.version and not one.undone])
        old = tuple((file, every_row) for file in _old_files(now, load))
        return _Undoing(load, stands_still, tuple((file, every_row) for file in now.files), old)
    given = () if load.replaced is None else _replaced_rows(now, load, load.replaced, others)
    return _Undoing(load, stands_still, _own_rows(now, load), given)


def _own_rows(now: Current, load: Load) -> tuple[_Chosen, ...]:
    """The files that hold rows of the load."""
    span = load.replaced or ((min(load.days), max(load.days)) if load.days else None)
    if span is None:
        return ()
    mask = both(of_batches(frozenset({load.batch})), within(now.table, *span))
    near = (file for file in now.files if file.touches(*span))
    return tuple((file, mask) for file in near if load.batch in batches_in(now.folder / file.path))


def _replaced_rows(now: Current, load: Load, span: tuple[date, date], others: Iterable[Load]) -> tuple[_Chosen, ...]:
    """The rows that the load put others in the place of, but those of batches that were undone meanwhile."""
    others = tuple(others)
    later = [one for one in others if one.version > load.version and not one.undone and one.touches(*span)]
    _refuse_later(load, later)
    gone = frozenset(one.batch for one in (load, *others)) - standing_batches(others)
    mask = both(within(now.table, *span), other_than(of_batches(gone)))
    return tuple((file, mask) for file in _old_files(now, load))


def _refuse_later(load: Load, later: list[Load]) -> None:
    if later:
        told = ", ".join(one.batch for one in later[:5])
        raise UsageError(
            f"batch {load.batch} can't be undone: {format_count(len(later), 'later load')} changed the same rows "
            f"({told}); undo those first, newest first"
        )


def _old_files(now: Current, load: Load) -> list[DataFile]:
    """The files that the load put others in the place of."""
    paths = removed_by(now.folder, load.version)
    lost = [path for path in paths if not (now.folder / path).is_file()]
    if lost:
        raise UsageError(
            f"batch {load.batch} can't be undone: what it replaced was vacuumed "
            f"({format_count(len(lost), 'file')} of it); load the former rows again with --replace-days"
        )
    return [DataFile(path, 0, 0, _month_of(path)) for path in paths]


def _month_of(path: str) -> str | None:
    folder = Path(path).parent.name
    return folder.removeprefix(f"{MONTH}=") if folder.startswith(f"{MONTH}=") else None
