"""The loads that a table remembers, and how one of them is taken back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.commits import Change, commit
from reelport.facts.log import Current, DataFile, Entry, current, entries, removed_by, tables_in
from reelport.facts.rewriting import Mask, batches_in, both, of_batches, other_than, rewrite, rows_of, within
from reelport.facts.schema import MONTH, table_named
from reelport.facts.storage import Writing
from reelport.facts.tables import Table


@dataclass(frozen=True, slots=True)
class Load:
    """One load of a batch into a table. `replaced` is the range of days that it emptied first."""

    table: str
    batch: str
    at: datetime | None
    rows: int
    rejects: int
    days: tuple[date, ...]
    replaced: tuple[date, date] | None
    sources: tuple[str, ...]
    version: int
    undone: bool = False

    def touches(self, start: date, end: date) -> bool:
        """Whether it wrote or emptied any of these days."""
        if self.replaced is not None and self.replaced[0] <= end and self.replaced[1] >= start:
            return True
        return any(start <= day <= end for day in self.days)


@dataclass(frozen=True, slots=True)
class Undone:
    """What taking back a load did."""

    table: str
    batch: str
    removed: int
    restored: int
    version: int | None


def loads(root: Path, table: str | None = None) -> tuple[Load, ...]:
    """Every load, oldest first within each table."""
    chosen = tables_in(root) if table is None else (table_named(table),)
    return tuple(load for one in chosen for load in _loads_of(one, entries(current(root, one).delta)))


def _loads_of(table: Table, told: Iterable[Entry]) -> tuple[Load, ...]:
    found: list[Load] = []
    for entry in told:
        match entry.kind:
            case "load" | "replace":
                found.append(_load(table, entry))
            case "undo":
                last = max(place for place, load in enumerate(found) if load.batch == entry.batch)
                found[last] = replace(found[last], undone=True)
    return tuple(found)


def _load(table: Table, entry: Entry) -> Load:
    span = entry.span and (date.fromisoformat(entry.span[0]), date.fromisoformat(entry.span[1]))
    days = tuple(map(date.fromisoformat, entry.days))
    return Load(table.name, entry.batch, entry.at, entry.rows, entry.rejects, days, span, entry.sources, entry.version)


def undo(root: Path, batch: str, table: str | None = None) -> Undone:
    """Take back the last load of the batch, named whole or by its beginning.

    A load loses exactly its rows, wherever they lie by now. A replacement also gives back
    what it replaced, as long as the old files are there and no later load touched these
    days. Raises UsageError when it can't be done; then nothing changed.
    """
    load = _named(loads(root, table), batch)
    found = table_named(load.table)
    with ExitStack() as stack:
        attempts: list[Writing] = []
        counts: list[tuple[int, int]] = []

        def propose(now: Current) -> Change:
            history = _loads_of(found, entries(now.delta))
            last = _named(history, load.batch)
            writing = stack.enter_context(Writing(now.folder, found))
            attempts.append(writing)
            if not found.is_fact:
                _restore_objects(now, last, history, writing)
                touched = now.files
            else:
                touched = _without(now, last, writing)
            before = _rows(touched)
            left = _rows(writing.finish()) if found.is_fact else 0
            if found.is_fact and last.replaced is not None:
                _restore_days(now, last, last.replaced, history, writing)
            adds = writing.finish()
            removed = before - left
            counts.append((removed, _rows(adds) - left))
            days = tuple(day.isoformat() for day in last.days)
            entry = Entry("undo", last.batch, removed, days=days)
            return Change(entry, adds, touched, loaded=False)

        version = commit(root, found, propose)
        attempts[-1].keep()
    return Undone(load.table, load.batch, *counts[-1], version)


def _rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _named(known: Iterable[Load], batch: str) -> Load:
    """The last load of the one batch that is meant."""
    if not batch:
        raise UsageError("the batch to undo has no name: see reelport load list")
    begun = [load for load in known if load.batch.startswith(batch)]
    exact = [load for load in begun if load.batch == batch] or begun
    names = sorted({(load.table, load.batch) for load in exact})
    if not names:
        raise UsageError(f"no load has a batch that begins with {batch!r}: see reelport load list")
    if len(names) > 1:
        told = ", ".join(f"{name} in {table}" for table, name in names[:5])
        raise UsageError(f"{batch!r} names {len(names)} batches ({told}): write more of it, or give --table")
    if exact[-1].undone:
        raise UsageError(f"batch {exact[-1].batch} of {exact[-1].table} is undone already")
    return exact[-1]


def _without(now: Current, load: Load, writing: Writing) -> tuple[DataFile, ...]:
    """The files that hold rows of the batch; their other rows are written again."""
    mine = frozenset({load.batch})
    span = (min(load.days), max(load.days)) if load.days else None
    touched = []
    for file in now.files:
        if span is None or not file.touches(*span):
            continue
        held = batches_in(now.folder / file.path)
        if mine & held:
            touched.append(file)
            if held != mine:
                rewrite(writing, now.table, now.folder, file, other_than(of_batches(mine)))
    return tuple(touched)


def _restore_days(
    now: Current, load: Load, span: tuple[date, date], history: tuple[Load, ...], writing: Writing
) -> None:
    later = [one for one in history if one.version > load.version and not one.undone and one.touches(*span)]
    _refuse_later(load, later)
    gone = frozenset(one.batch for one in history if not now.has(one.batch))
    for file in _old_files(now, load):
        mask: Mask = within(now.table, *span)
        if gone & batches_in(now.folder / file.path):
            mask = both(mask, other_than(of_batches(gone)))
        rewrite(writing, now.table, now.folder, file, mask)


def _restore_objects(now: Current, load: Load, history: tuple[Load, ...], writing: Writing) -> None:
    _refuse_later(load, [one for one in history if one.version > load.version and not one.undone])
    for file in _old_files(now, load):
        for rows in rows_of(now.folder / file.path, now.table):
            writing.take("rows", None, rows)


def _refuse_later(load: Load, later: list[Load]) -> None:
    if later:
        told = ", ".join(one.batch for one in later[:5])
        raise UsageError(
            f"batch {load.batch} can't be undone: {len(later)} later load(s) changed the same rows ({told}); "
            "undo those first, newest first"
        )


def _old_files(now: Current, load: Load) -> list[DataFile]:
    """The files that the load put others in the place of."""
    paths = removed_by(now.folder, load.version)
    lost = [path for path in paths if not (now.folder / path).is_file()]
    if lost:
        raise UsageError(
            f"batch {load.batch} can't be undone: what it replaced was vacuumed ({len(lost)} file(s) are gone); "
            "load the former rows again with --replace-days"
        )
    return [DataFile(path, 0, 0, _month_of(path)) for path in paths]


def _month_of(path: str) -> str | None:
    folder = Path(path).parent.name
    return folder.removeprefix(f"{MONTH}=") if folder.startswith(f"{MONTH}=") else None
