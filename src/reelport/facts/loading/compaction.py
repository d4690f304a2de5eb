"""Merge settled days into months, and copy files by role.

A month's files are cut at owners, so that a report of few owners reads few of them: over an object store it fetches
them whole. The rows don't change, and pinned snapshots stay readable. A copy by role serves reports of EMBED and CLAIM:
it commits nothing, is named after its file, and reports that find none read the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelport import killpoints
from reelport.errors import StorageError, UsageError
from reelport.facts.data_files.duckdb_session import Workspace, open_workspace, parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import MONTH_STEM, ROW_GROUP, StagedFiles, open_writer
from reelport.facts.data_files.work_folders import clear_dead_folders
from reelport.facts.defaults import MEMORY, SETTLED_AFTER
from reelport.facts.log.commits import Change, commit, find_missing_columns
from reelport.facts.log.delta_log import TableVersion, read_newest, require_intact
from reelport.facts.log.log_entry import DataFile, LogEntry
from reelport.facts.log.log_files import list_tables
from reelport.facts.log.role_copies import LEAST_ROWS, add_digest, find_copies, list_roles, name_copy
from reelport.facts.rollups import carry_over, keep_segments
from reelport.facts.tables import OWNER, Table, find_table, sort_keys, stored_schema
from reelport.sql_quoting import quote_name
from reelport.storage.digests import compute_digest
from reelport.storage.durable import private, translate_io_errors
from reelport.storage.file_cache import holding
from reelport.storage.locked_folders import lock_folder

FILE_BYTES = 8 << 20
"""Bytes from which on a month's file ends where the next owner begins.

An owner of more than that has files of its own, of up to twice as many bytes.
"""


@dataclass(frozen=True, slots=True)
class CompactedMonth:
    """One month that was merged: how many files became how many, and how many rows they hold."""

    table: str
    month: str
    files: int
    into: int
    rows: int


def compact(
    root: Path,
    *,
    today: date,
    settled_after: int = SETTLED_AFTER,
    table: str | None = None,
    memory: str = MEMORY,
    file_bytes: int = FILE_BYTES,
    progress: Callable[[CompactedMonth], None] | None = None,
) -> tuple[CompactedMonth, ...]:
    """Merge the files of days more than `settled_after` days before today, one month at a time.

    A file ends with the owner that is written when it has `file_bytes`, and in any case at twice as many.
    """
    if settled_after < 0:
        raise UsageError("days settle after 0 days or more")
    clear_dead_folders(root)
    before = today - timedelta(days=settled_after)
    done = []
    for found in list_tables(root) if table is None else (find_table(table),):
        if not found.is_fact:
            continue
        seen = read_newest(root, found)
        for month, files in _find_months_to_merge(seen.files, before, file_bytes):
            if into := _merge(root, seen, month, files, memory, file_bytes):
                done.append(CompactedMonth(found.name, month, len(files), into, sum(file.rows for file in files)))
                if progress is not None:
                    progress(done[-1])
    return tuple(done)


def _find_months_to_merge(
    files: Iterable[DataFile], before: date, file_bytes: int
) -> list[tuple[str, tuple[DataFile, ...]]]:
    months: dict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.month is not None and file.last_day < before:
            months[file.month].append(file)
    return [(month, tuple(found)) for month, found in sorted(months.items()) if not _are_merged(found, file_bytes)]


def _are_merged(files: Iterable[DataFile], file_bytes: int) -> bool:
    """Whether the files follow each other by owner, and no two neighbours make a small one."""

    def ends(file: DataFile) -> tuple[bytes, bytes]:
        return (file.low_owner or "").encode(), (file.high_owner or "").encode()

    return all(
        ends(one)[1] <= ends(other)[0] and one.size + other.size >= file_bytes
        for one, other in pairwise(sorted(files, key=ends))
    )


def _merge(
    root: Path, seen: TableVersion, month: str, files: tuple[DataFile, ...], memory: str, file_bytes: int
) -> int:
    """Merge the month's files; return how many they are then, 0 if a process changed them."""
    table, folder = seen.table, seen.folder
    keys = ", ".join(map(quote_name, sort_keys(table)))
    with ExitStack() as stack:
        stack.enter_context(holding())
        require_intact(seen, files)
        source = parquet_source(seen.paths(files))
        space = stack.enter_context(open_workspace(root, memory))
        staged = stack.enter_context(StagedFiles(folder, table, seen.version, space.folder))
        merged = space.session.sql(f"{project_sql(table, source)} ORDER BY {keys}")
        for batch in merged.to_arrow_reader(ROW_GROUP):
            _write_cut(staged, month, pa.Table.from_batches([batch]), file_bytes)
        written = staged.finish()
        rows = sum(file.rows for file in files)
        if sum(file.rows for file in written) != rows:
            raise StorageError(f"{folder}: merging {month} would change its {rows:,} rows; run reelport verify")

        before: list[tuple[DataFile, ...]] = []

        def propose(now: TableVersion) -> Change | None:
            if not set(files) <= set(now.files):
                return None
            before.append(now.files)
            return Change(LogEntry("compact", rows=rows), written, files)

        stack.enter_context(keep_segments(root))
        version = commit(root, table, propose)
        if version is None:
            return 0
        staged.keep()
        after = (*(file for file in before[-1] if file not in files), *written)
        # The month is merged. What a full disk leaves undone here, the next build of rollups does.
        with suppress(StorageError):
            carry_over(root, table.name, before[-1], after)
    return len(written)


def _write_cut(staged: StagedFiles, month: str, rows: pa.Table, file_bytes: int) -> None:
    """Write sorted rows; a file that is large enough ends with the owner of its last row."""
    if staged.open_bytes >= file_bytes:
        is_another = pc.not_equal(rows.column(OWNER), pa.scalar(staged.last_owner))
        begin = pc.index(is_another, True).as_py()
        if begin >= 0 or staged.open_bytes >= 2 * file_bytes:
            staged.write(MONTH_STEM, month, rows.slice(0, max(begin, 0)))
            staged.end_file()
            rows = rows.slice(max(begin, 0))
    staged.write(MONTH_STEM, month, rows)


_LEAST_GROUP = 4_096
"""Rows from which a row group ends where another channel begins: so a channel's rows lie in few foreign ones."""


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """How many copies of a table's files were written."""

    table: str
    copies: int


def copy_tables_by_roles(root: Path, *, table: str | None = None, memory: str = MEMORY) -> tuple[CopiedTable, ...]:
    """Write the copies that files of the tables lack.

    Raises StorageError, or NewerData where a table has columns that this version doesn't know: copies would lack
    them, and stay. Those written so far stay.
    """
    done = []
    for found in list_tables(root):
        if not list_roles(found) or table not in {None, found.name}:
            continue
        # Two at once would replace each other's copies while reports read them. Only copying locks this folder: loads
        # and vacuums, which lock their own work folders in it, don't wait.
        with open_workspace(root, memory) as space, lock_folder(space.folder.parent):
            now = read_newest(root, found)
            find_missing_columns(now)
            if copies := copy_by_roles(space, now, now.files):
                done.append(CopiedTable(found.name, copies))
    return tuple(done)


@private()
def copy_by_roles(space: Workspace, now: TableVersion, files: Iterable[DataFile]) -> int:
    """Write the copies that these data files lack; returns how many that were.

    Each is durable before it has its name. Raises StorageError; reports then read the files themselves.
    """
    written = 0
    large = [file for file in files if file.rows >= LEAST_ROWS]
    for role in list_roles(now.table):
        names = {file: name_copy(file.path, role) for file in large}
        existing = find_copies(now.store, names.values())
        # One that exists stays: reports may be reading it, and ties may be sorted otherwise this time.
        lacking = [file for file in large if names[file] not in existing]
        require_intact(now, lacking)
        for file in lacking:
            space.run_interruptibly(partial(_write_copy, space, now, file, role))
            written += 1
    return written


def _write_copy(space: Workspace, now: TableVersion, file: DataFile, role: str) -> None:
    path, sql = space.folder / "copy.parquet", _sorted_sql(now.table, str(now.path(file).absolute()), role)
    with translate_io_errors(now.folder), _open_copy(now.table, path, role) as writer:
        for rows in _group_rows(space.session.sql(sql).to_arrow_reader(ROW_GROUP), role):
            writer.write_table(rows.cast(stored_schema(now.table.name)), row_group_size=rows.num_rows)
    killpoints.reach("role-copy")
    with translate_io_errors(path):
        digest = compute_digest(path)
    now.store.put_draft(path, add_digest(name_copy(file.path, role), digest))


def _sorted_sql(table: Table, path: str, role: str) -> str:
    keys = ", ".join(map(quote_name, (role, *(key for key in sort_keys(table) if key != OWNER))))
    rows = project_sql(table, parquet_source([path]))
    return f"SELECT * FROM ({rows}) WHERE {quote_name(role)} IS NOT NULL ORDER BY {keys}"  # noqa: S608 - our tables' names, quoted paths


def _open_copy(table: Table, path: Path, role: str) -> pq.ParquetWriter:
    assert table.time is not None  # noqa: S101 - only facts have copies
    # A row group's description is read for each report: nobody needs statistics of more than these two columns.
    return open_writer(path, table, statistics=(role, table.time), stores_schema=False)


def _group_rows(batches: Iterable[pa.RecordBatch], role: str) -> Iterator[pa.Table]:
    """Cut sorted rows into row groups.

    One ends with its channel as soon as it is large enough; a larger channel has some of its own.
    """
    waiting: list[pa.Table] = []
    before = ""
    for channel, rows in _list_runs(batches, role):
        count = sum(each.num_rows for each in waiting)
        if waiting and ((channel != before and count >= _LEAST_GROUP) or count >= ROW_GROUP):
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(rows)
        before = channel
    if waiting:
        yield pa.concat_tables(waiting)


def _list_runs(batches: Iterable[pa.RecordBatch], role: str) -> Iterator[tuple[str, pa.Table]]:
    for batch in batches:
        rows, start = pa.Table.from_batches([batch]), 0
        runs = pc.run_end_encode(batch.column(role))
        for channel, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield channel, rows.slice(start, end - start)
            start = end
