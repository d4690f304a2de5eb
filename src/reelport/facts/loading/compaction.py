"""Compact tables: merge settled days' files into files of a month, sorted by owner.

A month's files are cut at owners, so that a report of few owners reads few of them: over an object store it fetches
them whole. The rows don't change, and pinned snapshots stay readable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reelport.errors import StorageError, UsageError
from reelport.facts.data_files.duckdb_session import open_workspace, parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import MONTH_STEM, ROW_GROUP, StagedFiles
from reelport.facts.data_files.work_folders import claim_file, clear_dead_folders
from reelport.facts.defaults import MEMORY, SETTLED_AFTER
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.delta_log import TableVersion, read_newest, require_intact
from reelport.facts.log.log_entry import LogEntry
from reelport.facts.log.log_files import list_tables
from reelport.facts.rollups import carry_over, keep_segments
from reelport.facts.schema import OWNER, find_table, sort_keys
from reelport.sql_quoting import quote_name
from reelport.storage.file_cache import holding

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
    """Merge the month's files; return how many they are then.

    0, and nothing done, if a process changed them.
    """
    table, folder = seen.table, seen.folder
    keys = ", ".join(map(quote_name, sort_keys(table)))
    with ExitStack() as stack:
        stack.enter_context(holding())
        require_intact(seen, files)
        source = parquet_source(seen.paths(files))
        space = stack.enter_context(open_workspace(root, memory))
        claim = partial(claim_file, space.folder)
        staged = stack.enter_context(StagedFiles(folder, table, seen.version, claim))
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
    """Write rows that come sorted.

    A file that is large enough ends with the owner of its last row.
    """
    if staged.open_bytes >= file_bytes:
        is_another = pc.not_equal(rows.column(OWNER), pa.scalar(staged.last_owner))
        begin = pc.index(is_another, True).as_py()
        if begin >= 0 or staged.open_bytes >= 2 * file_bytes:
            staged.write(MONTH_STEM, month, rows.slice(0, max(begin, 0)))
            staged.end_file()
            rows = rows.slice(max(begin, 0))
    staged.write(MONTH_STEM, month, rows)
