"""Commit a prepared load: add it once, replace days with it, or merge it by key.

Each way is safe while other processes commit to the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import Workspace, open_workspace, parquet_source
from reelport.facts.data_files.projection import project_sql, select_no_rows_sql
from reelport.facts.data_files.rewriting import in_days, negate, rewrite_file
from reelport.facts.data_files.sorted_files import ROW_GROUP, StagedFiles
from reelport.facts.loading.conflicts import SharedDay, count_renamed, describe_shared, find_shared_days, read_values
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import TableVersion, require_intact
from reelport.facts.log.history import find_superseded_days, read_history, restate
from reelport.facts.log.log_entry import DataFile, DayLeftOut, LogEntry, Span
from reelport.facts.tables import Table
from reelport.sql_quoting import quote_name
from reelport.wording import format_count

_SHOWN = 5
"""The most days that an error message lists."""


def allow_any(_: TableVersion) -> None:
    """Allow a load to be added to any version of its table."""


@dataclass(frozen=True, slots=True)
class PreparedLoad:
    """A batch whose files are written and durable, but not yet committed to its table.

    `today` (UTC) is the day of the load, `span` are the days that it replaces. `check` raises where an addition must
    not be committed to that version.
    """

    entry: LogEntry
    files: tuple[DataFile, ...]
    today: date
    span: Span | None = None
    check: Callable[[TableVersion], None] = allow_any


@dataclass(frozen=True, slots=True)
class AppliedLoad:
    """The result of committing a load.

    `version` is the table's new version, None when nothing had to change. `files` are the prepared files that the
    commit uses, `entry` is what it records. `shared_days` had rows of other batches already. `removed` is how many rows
    a replacement removed, None for any other load. `renamed` counts objects that got another unique value.
    """

    version: int | None
    files: tuple[DataFile, ...]
    entry: LogEntry
    shared_days: tuple[SharedDay, ...] = ()
    removed: int | None = None
    renamed: int = 0


def apply_load(
    root: Path,
    table: Table,
    loaded: PreparedLoad,
    memory: str,
    claim: Callable[[Path], None],
    space: Workspace | None = None,
) -> AppliedLoad:
    """Commit the batch; merge object rows in `space`, or in a workspace within `memory`.

    `claim` is that of `StagedFiles`, for what a replacement or a merge writes.
    """
    if not table.is_fact:
        with open_workspace(root, memory) if space is None else nullcontext(space) as merging:
            return _apply_merge(root, table, loaded, claim, merging)
    if loaded.span is not None:
        return _apply_replacement(root, table, loaded, claim, loaded.span)
    return _apply_addition(root, table, loaded)


def _apply_addition(root: Path, table: Table, loaded: PreparedLoad) -> AppliedLoad:
    changes: list[tuple[Change, tuple[SharedDay, ...]]] = []

    def propose(now: TableVersion) -> Change | None:
        if now.is_loaded(loaded.entry.batch):
            return None
        loaded.check(now)
        change = _leave_out_superseded(now, loaded)
        changes.append((change, find_shared_days(now, _count_by_day(change.adds))))
        return change

    version = commit(root, table, propose)
    if version is None:
        return AppliedLoad(None, (), loaded.entry)
    change, shared = changes[-1]
    return AppliedLoad(version, change.adds, change.entry, shared)


def _count_by_day(files: Sequence[DataFile]) -> Counter[date]:
    rows: Counter[date] = Counter()
    for file in files:
        rows[file.first_day] += file.rows
    return rows


def _leave_out_superseded(now: TableVersion, loaded: PreparedLoad) -> Change:
    """Make the change without files of days replaced since; each file is of one day."""
    entry = loaded.entry
    left_out = find_days_left_out(now, entry.batch, _count_by_day(loaded.files))
    if not left_out:
        return Change(entry, loaded.files, loaded=True)
    replaced = {one.day for one in left_out}
    adds = tuple(file for file in loaded.files if file.first_day not in replaced)
    if not adds:
        raise BadInput(f"nothing was loaded: {format_left_out(left_out)}")
    days = tuple(day for day in entry.days if date.fromisoformat(day) not in replaced)
    kept = replace(entry, rows=sum(file.rows for file in adds), days=days, left_out=left_out)
    return Change(kept, adds, loaded=True)


def find_days_left_out(now: TableVersion, batch: str, rows: Mapping[date, int]) -> tuple[DayLeftOut, ...]:
    """Find a batch's days replaced since it was first loaded; `rows` are its, by day."""
    # Only a batch that was loaded before can have such days. For any other, don't read the whole log.
    known = read_history(now) if now.load_counter(batch) else ()
    replaced = find_superseded_days(known, batch, rows)
    return tuple(DayLeftOut(day, rows[day], replaced[day]) for day in sorted(replaced))


def format_left_out(left_out: Sequence[DayLeftOut]) -> str:
    """Say which days a load skipped, why, and what to do about it."""
    rows = sum(one.rows for one in left_out)
    days = ", ".join(f"{one.day} ({one.rows:,}, replaced by batch {one.replaced_by})" for one in left_out[:_SHOWN])
    more = f" and {format_count(len(left_out) - _SHOWN, 'more day')}" if len(left_out) > _SHOWN else ""
    return (
        f"{format_count(rows, 'row')} left out, as their days were replaced after this batch was first loaded: "
        f"{days}{more}. To have them, load them with --replace-days, or undo the replacement first."
    )


def _apply_replacement(
    root: Path, table: Table, loaded: PreparedLoad, claim: Callable[[Path], None], span: Span
) -> AppliedLoad:
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []
        removed: list[int] = []

        def propose(now: TableVersion) -> Change:
            staged = stack.enter_context(StagedFiles(now.folder, table, now.version, claim))
            attempts.append(staged)
            touched = tuple(file for file in now.files if file.touches(*span))
            for file in touched:
                if file.first_day < span[0] or file.last_day > span[1]:
                    rewrite_file(staged, now, file, negate(in_days(table, *span)))
            kept = staged.finish()
            removed.append(sum(file.rows for file in touched) - sum(file.rows for file in kept))
            entry = replace(loaded.entry, restated=restate(now, span, loaded.today))
            return Change(entry, (*loaded.files, *kept), touched, loaded=True)

        version = commit(root, table, propose)
        attempts[-1].keep()
    return AppliedLoad(version, loaded.files, loaded.entry, removed=removed[-1])


def _apply_merge(
    root: Path, table: Table, loaded: PreparedLoad, claim: Callable[[Path], None], space: Workspace
) -> AppliedLoad:
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []
        renamed: list[int] = []

        def propose(now: TableVersion) -> Change | None:
            require_intact(now, now.files)  # before they are read: it may fetch them again
            new, old = now.paths(loaded.files), now.paths(now.files)
            if old and not count_missing(table, new, old, space):
                return None
            known, given = read_values(table, old), read_values(table, new)
            if (shared := describe_shared(table, known, given)) is not None:
                raise BadInput(f"nothing was loaded: {shared}")
            renamed.append(count_renamed(known, given))
            staged = stack.enter_context(StagedFiles(now.folder, table, now.version, claim))
            attempts.append(staged)
            for batch in space.session.sql(_merge_sql(table, new, old)).to_arrow_reader(ROW_GROUP):
                staged.write("rows", None, pa.Table.from_batches([batch]))
            return Change(loaded.entry, staged.finish(), now.files, loaded=True)

        version = commit(root, table, propose)
        if version is not None:
            attempts[-1].keep()
    return AppliedLoad(version, (), loaded.entry, renamed=0 if version is None else renamed[-1])


def count_missing(table: Table, these: list[str], those: list[str], space: Workspace) -> int:
    """Count the distinct rows in the files `these` that are in none of `those`."""
    rows, others = (
        project_sql(table, parquet_source(paths)) if paths else select_no_rows_sql(table) for paths in (these, those)
    )
    found = space.session.execute(f"SELECT count(*) FROM ({rows} EXCEPT {others})").fetchall()  # noqa: S608 - quoted
    return int(found[0][0])


def _merge_sql(table: Table, new: list[str], old: list[str]) -> str:
    key, rows = quote_name(table.key or ""), project_sql(table, parquet_source(new))
    if not old:
        return f"{rows} ORDER BY {key}"
    return (
        f"{rows} UNION ALL SELECT * FROM ({project_sql(table, parquet_source(old))}) AS old "  # noqa: S608 - names and paths are quoted
        f"WHERE NOT EXISTS (SELECT 1 FROM {parquet_source(new)} AS new WHERE new.{key} = old.{key}) ORDER BY {key}"
    )
