"""How a load lands: added once, put in the place of days, or merged by key, whatever others commit meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import Current, DataFile, DayLeftOut, Entry
from reelport.facts.log.history import history_of, superseded_days
from reelport.facts.rules import quoted
from reelport.facts.storage.duckdb_session import Workspace, parquet_source, workspace
from reelport.facts.storage.projection import empty_sql, project_sql
from reelport.facts.storage.rewriting import other_than, rewrite, within
from reelport.facts.storage.sorted_files import ROW_GROUP, Writing
from reelport.facts.tables import Table
from reelport.wording import format_count

_SHOWN = 5
"""Days that a sentence names."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch that is written and durable, and not yet in its table."""

    entry: Entry
    files: tuple[DataFile, ...]
    span: tuple[date, date] | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """What a load came to.

    `version` is the one at which it landed, None when nothing had to change; `files` are those of its own that are in
    use, `entry` is what its commit records.
    """

    version: int | None
    files: tuple[DataFile, ...]
    entry: Entry


def apply_load(root: Path, table: Table, loaded: Loaded, memory: str) -> Landed:
    """Commit the batch; `memory` bounds what merging objects may take."""
    if not table.is_fact:
        with workspace(root, memory) as space:
            return _merged(root, table, loaded, space)
    if loaded.span is not None:
        return _replaced(root, table, loaded, loaded.span)
    return _added(root, table, loaded)


def _added(root: Path, table: Table, loaded: Loaded) -> Landed:
    """Add the batch, but for the days that were replaced since it was first loaded."""
    changes: list[Change] = []

    def propose(now: Current) -> Change | None:
        if now.has(loaded.entry.batch):
            return None
        changes.append(_without_superseded(now, loaded))
        return changes[-1]

    version = commit(root, table, propose)
    if version is None:
        return Landed(None, (), loaded.entry)
    return Landed(version, changes[-1].adds, changes[-1].entry)


def _without_superseded(now: Current, loaded: Loaded) -> Change:
    """The load without the files of superseded days: each of its files holds the rows of one day."""
    entry = loaded.entry
    rows = Counter({file.first_day: 0 for file in loaded.files})
    for file in loaded.files:
        rows[file.first_day] += file.rows
    left_out = days_left_out(now, entry.batch, rows)
    if not left_out:
        return Change(entry, loaded.files, loaded=True)
    closed = {one.day for one in left_out}
    adds = tuple(file for file in loaded.files if file.first_day not in closed)
    if not adds:
        raise BadInput(f"nothing was loaded: {tell_left_out(left_out)}")
    days = tuple(day for day in entry.days if date.fromisoformat(day) not in closed)
    kept = replace(entry, rows=sum(file.rows for file in adds), days=days, left_out=left_out)
    return Change(kept, adds, loaded=True)


def days_left_out(now: Current, batch: str, rows: Mapping[date, int]) -> tuple[DayLeftOut, ...]:
    """Of the days of a batch, with their rows, those that were replaced since it was first loaded."""
    # Only a batch that was loaded before can have been superseded: the others spare reading all of the log.
    known = history_of(now) if now.loads_of(batch) else ()
    closed = superseded_days(known, batch, rows)
    return tuple(DayLeftOut(day, rows[day], closed[day]) for day in sorted(closed))


def tell_left_out(left_out: Sequence[DayLeftOut]) -> str:
    """What was left out of a load, why, and what to do about it."""
    rows = sum(one.rows for one in left_out)
    days = ", ".join(f"{one.day} ({one.rows:,}, replaced by batch {one.replaced_by})" for one in left_out[:_SHOWN])
    more = f" and {format_count(len(left_out) - _SHOWN, 'more day')}" if len(left_out) > _SHOWN else ""
    return (
        f"{format_count(rows, 'row')} left out, as their days were replaced after this batch was first loaded: "
        f"{days}{more}. To have them, load them with --replace-days, or undo the replacement first."
    )


def _replaced(root: Path, table: Table, loaded: Loaded, span: tuple[date, date]) -> Landed:
    with ExitStack() as stack:
        attempts: list[Writing] = []

        def propose(now: Current) -> Change:
            writing = stack.enter_context(Writing(now.folder, table))
            attempts.append(writing)
            touched = tuple(file for file in now.files if file.touches(*span))
            for file in touched:
                if file.first_day < span[0] or file.last_day > span[1]:
                    rewrite(writing, table, now.folder, file, other_than(within(table, *span)))
            return Change(loaded.entry, (*loaded.files, *writing.finish()), touched, loaded=True)

        version = commit(root, table, propose)
        attempts[-1].keep()
    return Landed(version, loaded.files, loaded.entry)


def _merged(root: Path, table: Table, loaded: Loaded, space: Workspace) -> Landed:
    with ExitStack() as stack:
        attempts: list[Writing] = []

        def propose(now: Current) -> Change | None:
            new = [str((now.folder / file.path).absolute()) for file in loaded.files]
            old = [str((now.folder / file.path).absolute()) for file in now.files]
            if old and not count_missing(table, new, old, space):
                return None
            writing = stack.enter_context(Writing(now.folder, table))
            attempts.append(writing)
            for batch in space.session.sql(_merge(table, new, old)).to_arrow_reader(ROW_GROUP):
                writing.take("rows", None, pa.Table.from_batches([batch]))
            return Change(loaded.entry, writing.finish(), now.files, loaded=True)

        version = commit(root, table, propose)
        if version is not None:
            attempts[-1].keep()
    return Landed(version, (), loaded.entry)


def count_missing(table: Table, these: list[str], those: list[str], space: Workspace) -> int:
    """How many different rows of the Parquet files at `these` paths no file at `those` has, cell by cell."""
    rows, others = (
        project_sql(table, parquet_source(paths)) if paths else empty_sql(table) for paths in (these, those)
    )
    found = space.session.execute(f"SELECT count(*) FROM ({rows} EXCEPT {others})").fetchall()  # noqa: S608 - quoted
    return int(found[0][0])


def _merge(table: Table, new: list[str], old: list[str]) -> str:
    key, rows = quoted(table.key or ""), project_sql(table, parquet_source(new))
    if not old:
        return f"{rows} ORDER BY {key}"
    return (
        f"{rows} UNION ALL SELECT * FROM ({project_sql(table, parquet_source(old))}) AS old "  # noqa: S608 - names and paths are quoted
        f"WHERE NOT EXISTS (SELECT 1 FROM {parquet_source(new)} AS new WHERE new.{key} = old.{key}) ORDER BY {key}"
    )
