"""Copies every data file by role that has no copies yet, for reports of EMBED and CLAIM.

It commits nothing: a copy is named after its file, and reports that find none read the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelport import killpoints
from reelport.facts.data_files.duckdb_session import Workspace, open_workspace, parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import ROW_GROUP, open_writer
from reelport.facts.data_files.work_folders import claim_file
from reelport.facts.defaults import MEMORY
from reelport.facts.log.commits import find_missing_columns
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.delta_log import TableVersion, read_newest, require_intact
from reelport.facts.log.log_files import list_tables
from reelport.facts.log.remote_tables import locate_drafts
from reelport.facts.log.role_copies import (
    LEAST_ROWS,
    WHOLE,
    add_digest,
    find_copies,
    list_parts,
    list_roles,
    name_copy,
)
from reelport.facts.schema import OWNER, sort_keys, stored_schema
from reelport.facts.tables import Table
from reelport.sql_quoting import quote_name
from reelport.storage.digests import compute_digest
from reelport.storage.durable import make_folder, translate_io_errors
from reelport.storage.locked_folders import lock_folder
from reelport.storage.modes import private

_LEAST_GROUP = 4_096
"""Rows from which a row group ends where another channel begins: so a channel's rows lie in few foreign ones."""
_PART = "_part"


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
        # Two at once would replace each other's copies while reports read them.
        with _lock_table(root / found.name), open_workspace(root, memory) as space:
            now = read_newest(root, found)
            find_missing_columns(now)
            if copies := copy_by_roles(space, now, now.files):
                done.append(CopiedTable(found.name, copies))
    return tuple(done)


@contextmanager
def _lock_table(folder: Path) -> Iterator[None]:
    """Let one process at a time copy the table; of an object store's, one of this machine.

    Nothing of such a table need lie here yet.
    """
    place = locate_drafts(folder)
    with translate_io_errors(place), private():
        make_folder(place)
    with translate_io_errors(place), lock_folder(place):
        yield


@private()
def copy_by_roles(space: Workspace, now: TableVersion, files: Iterable[DataFile]) -> int:
    """Write the copies that these data files lack; returns how many that were.

    Each part is durable before it has its name. Raises StorageError; reports then read the files themselves.
    """
    written = 0
    large = [file for file in files if file.rows >= LEAST_ROWS]
    for role in list_roles(now.table):
        parts = {file: {name_copy(file.path, role, part) for part in list_parts(file.rows)} for file in large}
        existing = find_copies(now.store, (name for names in parts.values() for name in names)).keys()
        for file, names in parts.items():
            # A part that exists stays: reports may be reading it, and ties may be sorted otherwise this time.
            if missing := names - existing:
                require_intact(now, [file])
                work = partial(_write_copy, space, now, file, role, missing)
                space.run_interruptibly(work)
                written += 1
    return written


def _write_copy(space: Workspace, now: TableVersion, file: DataFile, role: str, missing: Collection[str]) -> None:
    sql = _sorted_sql(now.table, str(now.path(file).absolute()), role, parts=len(list_parts(file.rows)))
    with ExitStack() as drafts:
        names = {part: name_copy(file.path, role, part) for part in list_parts(file.rows)}
        paths = {part: _prepare_draft(space, now, name, drafts) for part, name in names.items() if name in missing}
        with translate_io_errors(now.folder):
            _write_parts(space, now.table, sql, role, paths)
        killpoints.reach("role-copy")
        for part, path in paths.items():
            with translate_io_errors(path):
                digest = compute_digest(path)
            now.store.put_draft(path, add_digest(names[part], digest))


def _prepare_draft(space: Workspace, now: TableVersion, name: str, drafts: ExitStack) -> Path:
    """Prepare a draft that goes with the block or its killed process, unless it was put."""
    path = now.store.prepare_draft(f"{name}.{secrets.token_hex(6)}.part")
    claim_file(space.folder, path)
    drafts.callback(_discard, path)
    return path


def _discard(draft: Path) -> None:
    with suppress(OSError):
        draft.unlink(missing_ok=True)


def _sorted_sql(table: Table, path: str, role: str, *, parts: int) -> str:
    keys = ", ".join(map(quote_name, (_PART, role, *(key for key in sort_keys(table) if key != OWNER))))
    part = f"md5({quote_name(role)})[1]" if parts > 1 else f"'{WHOLE}'"
    return (
        f"SELECT *, {part} AS {_PART} FROM ({project_sql(table, parquet_source([path]))}) "  # noqa: S608 - our tables' names, quoted paths
        f"WHERE {quote_name(role)} IS NOT NULL ORDER BY {keys}"
    )


def _write_parts(space: Workspace, table: Table, sql: str, role: str, paths: dict[str, Path]) -> None:
    with ExitStack() as files:
        writers = {part: files.enter_context(_open_part(table, path, role)) for part, path in paths.items()}
        for part, rows in _group_rows(space.session.sql(sql).to_arrow_reader(ROW_GROUP), role):
            if part in writers:
                writers[part].write_table(rows.cast(stored_schema(table.name)), row_group_size=rows.num_rows)


def _open_part(table: Table, path: Path, role: str) -> pq.ParquetWriter:
    assert table.time is not None  # noqa: S101 - only facts have copies
    # A row group's description is read for each report: nobody needs statistics of more than these two columns.
    return open_writer(path, table, statistics=(role, table.time), stores_schema=False)


def _group_rows(batches: Iterable[pa.RecordBatch], role: str) -> Iterator[tuple[str, pa.Table]]:
    """Cut sorted rows into row groups, each with its part.

    One ends with its part, and with its channel as soon as it is large enough; a larger channel has some of its own.
    """
    waiting: list[pa.Table] = []
    before = ("", "")
    for run, rows in _list_runs(batches, role):
        count = sum(each.num_rows for each in waiting)
        is_other_part = run[0] != before[0]
        if waiting and (is_other_part or (run != before and count >= _LEAST_GROUP) or count >= ROW_GROUP):
            yield before[0], pa.concat_tables(waiting)
            waiting = []
        waiting.append(rows)
        before = run
    if waiting:
        yield before[0], pa.concat_tables(waiting)


def _list_runs(batches: Iterable[pa.RecordBatch], role: str) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    """Yield the rows of one channel after the other, batch by batch, with part and channel."""
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        runs = pc.run_end_encode(batch.column(role))
        start = 0
        for channel, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            part = batch.column(_PART)[start].as_py()
            yield (part, channel), rows.slice(start, end - start).drop_columns([_PART])
            start = end
