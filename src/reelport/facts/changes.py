"""How a load lands: added once, put in the place of days, or merged by key, whatever others commit meanwhile."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from reelport.facts.commits import Change, commit
from reelport.facts.log import Current, DataFile, Entry
from reelport.facts.rewriting import other_than, rewrite, within
from reelport.facts.rules import quoted
from reelport.facts.schema import stored
from reelport.facts.storage import ROW_GROUP, Writing
from reelport.facts.tables import Table
from reelport.facts.workspace import Workspace, parquet_source, workspace


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch that is written and durable, and not yet in its table."""

    entry: Entry
    files: tuple[DataFile, ...]
    span: tuple[date, date] | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """The version at which the batch landed, None when nothing had to change; whether its own files are in use."""

    version: int | None
    kept: bool


def landed(root: Path, table: Table, loaded: Loaded, memory: str) -> Landed:
    """Commit the batch; `memory` bounds what merging objects may take."""
    if not table.is_fact:
        with workspace(root, memory) as space:
            return _merged(root, table, loaded, space)
    if loaded.span is not None:
        return _replaced(root, table, loaded, loaded.span)
    change = Change(loaded.entry, adds=loaded.files, loaded=True)
    version = commit(root, table, lambda now: None if now.has(loaded.entry.batch) else change)
    return Landed(version, version is not None)


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
    return Landed(version, kept=True)


def _merged(root: Path, table: Table, loaded: Loaded, space: Workspace) -> Landed:
    with ExitStack() as stack:
        attempts: list[Writing] = []

        def propose(now: Current) -> Change | None:
            new = [str((now.folder / file.path).absolute()) for file in loaded.files]
            old = [str((now.folder / file.path).absolute()) for file in now.files]
            if old and not _differs(table, new, old, space):
                return None
            writing = stack.enter_context(Writing(now.folder, table))
            attempts.append(writing)
            for batch in space.session.sql(_merge(table, new, old)).to_arrow_reader(ROW_GROUP):
                writing.take("rows", None, pa.Table.from_batches([batch]))
            return Change(loaded.entry, writing.finish(), now.files, loaded=True)

        version = commit(root, table, propose)
        if version is not None:
            attempts[-1].keep()
    return Landed(version, kept=False)


def _columns(table: Table) -> str:
    return ", ".join(quoted(name) for name in stored(table.name).names)


def _differs(table: Table, new: list[str], old: list[str], space: Workspace) -> bool:
    columns = _columns(table)
    found = space.session.execute(
        f"SELECT count(*) FROM (SELECT {columns} FROM {parquet_source(new)} "  # noqa: S608 - names and paths are quoted
        f"EXCEPT SELECT {columns} FROM {parquet_source(old)})"
    ).fetchall()
    return bool(found[0][0])


def _merge(table: Table, new: list[str], old: list[str]) -> str:
    columns, key = _columns(table), quoted(table.key or "")
    if not old:
        return f"SELECT {columns} FROM {parquet_source(new)} ORDER BY {key}"  # noqa: S608 - names and paths are quoted
    return (
        f"SELECT {columns} FROM {parquet_source(new)} UNION ALL "  # noqa: S608 - names and paths are quoted
        f"SELECT {columns} FROM {parquet_source(old)} AS old "
        f"WHERE NOT EXISTS (SELECT 1 FROM {parquet_source(new)} AS new WHERE new.{key} = old.{key}) ORDER BY {key}"
    )
