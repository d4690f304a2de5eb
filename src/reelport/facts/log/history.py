"""The loads that a table's log remembers, which of them stand, and which days a batch may not come back to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.log.delta_log import DayLeftOut, LogEntry, TableVersion, list_tables, read_entries, read_newest
from reelport.facts.schema import find_table
from reelport.facts.tables import Table


@dataclass(frozen=True, slots=True)
class Load:
    """One load of a batch into a table. `replaced` is the range of days that it emptied first.

    `left_out` are days of its files that it didn't take, as they were replaced after the batch was first loaded.
    """

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
    left_out: tuple[DayLeftOut, ...] = ()

    def touches(self, start: date, end: date) -> bool:
        """Whether it wrote, emptied or left out any of these days."""
        if self.replaced is not None and self.replaced[0] <= end and self.replaced[1] >= start:
            return True
        return any(start <= day <= end for day in (*self.days, *(one.day for one in self.left_out)))


def list_loads(root: Path, table: str | None = None) -> tuple[Load, ...]:
    """Every load, oldest first within each table."""
    chosen = list_tables(root) if table is None else (find_table(table),)
    return tuple(load for one in chosen for load in read_history(read_newest(root, one)))


def read_history(now: TableVersion) -> tuple[Load, ...]:
    """Every load of one table, oldest first."""
    found: list[Load] = []
    for entry in read_entries(now.delta):
        match entry.kind:
            case "load" | "replace":
                found.append(_to_load(now.table, entry))
            case "undo":
                place = max(place for place, load in enumerate(found) if _is_undone_by(load, entry))
                found[place] = replace(found[place], undone=True)
    return tuple(found)


def _is_undone_by(load: Load, entry: LogEntry) -> bool:
    """An undo names the version that it takes back; logs of older versions name the batch alone."""
    return load.batch == entry.batch and not load.undone and entry.undoes in {0, load.version}


def _to_load(table: Table, entry: LogEntry) -> Load:
    span = entry.span and (date.fromisoformat(entry.span[0]), date.fromisoformat(entry.span[1]))
    days = tuple(map(date.fromisoformat, entry.days))
    return Load(
        table=table.name,
        batch=entry.batch,
        at=entry.at,
        rows=entry.rows,
        rejects=entry.rejects,
        days=days,
        replaced=span,
        sources=entry.sources,
        version=entry.version,
        left_out=entry.left_out,
    )


def active_batches(history: Iterable[Load]) -> frozenset[str]:
    """The batches of which a load stands."""
    return frozenset(load.batch for load in history if not load.undone)


def find_superseded_days(history: Iterable[Load], batch: str, days: Iterable[date]) -> Mapping[date, str]:
    """Those of the days that were replaced since the batch was first loaded, and the batch that replaced each last.

    A load keeps the place in history that it had first: undone and loaded again, it comes back to where it was, and
    whatever was put in the place of its days after that stays there until it is itself undone.
    """
    known = tuple(history)
    first = min((load.version for load in known if load.batch == batch), default=None)
    if first is None:
        return {}
    later = [load for load in known if load.version > first and not load.undone and load.replaced is not None]
    return {
        day: [load.batch for load in over][-1]
        for day in days
        if (over := [load for load in later if load.replaced and load.replaced[0] <= day <= load.replaced[1]])
    }


def find_load_to_undo(known: Iterable[Load], batch: str) -> Load:
    """The newest standing load of the one batch that is meant, by its name or the beginning of it.

    Raises UsageError when there is none, or several batches begin so.
    """
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
    standing = [load for load in exact if not load.undone]
    if not standing:
        raise UsageError(f"batch {exact[-1].batch} of {exact[-1].table} is undone already")
    return standing[-1]
