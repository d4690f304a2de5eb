"""Verify tables: check each Delta log, and compare it with the data files, read in full.

No commit of the log may be missing, truncated or at odds with itself. The log's files are parsed here, because the
Delta library skips an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelport.errors import NewerData, StorageError
from reelport.facts.damage import DAMAGE_ERRORS
from reelport.facts.data_files.sorted_files import ROW_GROUP
from reelport.facts.data_files.work_folders import list_work_folders, open_work_folder
from reelport.facts.log.delta_log import TableVersion, parse_digests, read_newest
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.log_files import DamagedCommit, commit_name, find_remote, list_commits, open_store, read_actions
from reelport.facts.log.role_copies import find_copies, is_data_file, list_roles, name_copy, split_digest
from reelport.facts.log.table_marks import was_made
from reelport.facts.tables import BATCH, MONTH, TABLES, Table, sort_keys, stored_schema
from reelport.storage.digests import is_intact, require_digest
from reelport.storage.file_store import FileStore
from reelport.wording import format_count

_CHUNK_BYTES = 1 << 20
_LOST_LOG = "its log is lost: {} files, such as {}, are in no commit"
_WRITING_KINDS = {"load", "compact"}
"""Kinds of commits to fact tables whose files must hold exactly the rows that the commit records."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result for one table; the table is intact when there are no findings."""

    table: str
    files: int
    rows: int
    findings: tuple[str, ...]
    left: tuple[str, ...] = ()
    """Data files that no commit names, by their paths in the table's folder."""


def verify(root: Path) -> tuple[VerifyResult, ...]:
    """Verify tables: gaps in logs; missing, unreadable, unsorted or altered files.

    Files that no commit names are not a finding: a running or killed command wrote them. If the newest commits of a
    log were lost, their files look the same.
    """
    return tuple(_verify_table(root, table) for table in TABLES.values() if _exists(root, table.name))


def _exists(root: Path, name: str) -> bool:
    """Whether there is or was a table, or files of one whose log is lost."""
    folder = root / name
    if was_made(root, name):
        return True
    return folder.is_dir() if find_remote(folder) is None else any(open_store(folder).list_names())


def _verify_table(root: Path, table: Table) -> VerifyResult:
    store = open_store(root / table.name)
    known: tuple[str, ...] = ()
    try:
        before = tuple(filter(is_data_file, store.list_names()))
        log = _check_log(root / table.name, table)
        known = log.findings
        if before and not log.commits and was_made(root, table.name):
            return VerifyResult(table.name, 0, 0, (_LOST_LOG.format(len(before), min(before)),))
        now = read_newest(root, table)
    except (StorageError, NewerData) as error:
        return VerifyResult(table.name, 0, 0, known or (str(error),))
    left = tuple(sorted(name for name in before if name not in log.named and store.find(name)))
    findings = [*log.findings]
    if left and not log.commits and not any(list_work_folders(root)):
        findings.append(_LOST_LOG.format(len(left), left[0]))
    for file in now.files:
        columns, digest = log.columns.get(file.path, frozenset()), log.digests.get(file.path)
        findings += [f"{file.path}: {finding}" for finding in _check_file(now, file, columns, digest)]
        findings += _check_copies(now, file)
    rows = sum(file.rows for file in now.files)
    return VerifyResult(table.name, len(now.files), rows, tuple(findings), left)


def _check_file(now: TableVersion, file: DataFile, columns: frozenset[str], digest: str | None) -> Iterator[str]:
    try:
        found = now.store.find(file.path)
        if found is None:
            yield f"the file is missing: {_describe_cure(file, digest)}"
            return
        if found.size != file.size:
            yield f"the file has {format_count(found.size, 'byte')}, its record {file.size:,}"
        with _fetch_file(now, file.path) as path:
            if digest is None:
                yield f"the log records no digest of it: {_describe_cure(file, digest)}"
            elif not is_intact(path, digest):
                yield f"its bytes are not those that were written: {_describe_cure(file, digest)}"
            with pq.ParquetFile(path, page_checksum_verification=True) as whole:
                if whole.metadata.num_rows != file.rows:
                    yield f"the file has {format_count(whole.metadata.num_rows, 'row')}, its record {file.rows:,}"
                wrong = list(_check_columns(whole.schema_arrow, now.table, columns))
                yield from wrong or _check_rows(whole, now.table, file)
    except (*DAMAGE_ERRORS, OSError, StorageError) as error:
        yield f"the file can't be read: {str(error).splitlines()[0]}"


def _describe_cure(file: DataFile, digest: str | None) -> str:
    """Say how the rows of a file that has rotted or is gone come back.

    Backups keep files by their digests.
    """
    again = "" if file.first is None else f", or load {file.first_day} to {file.last_day} again with --replace-days"
    kept = "" if digest is None else f", objects/{digest[:2]}/{digest}"
    return f"put the file of a backup in its place{kept}{again}"


def _check_copies(now: TableVersion, file: DataFile) -> Iterator[str]:
    names = [name_copy(file.path, role) for role in list_roles(now.table)]
    for name in find_copies(now.store, names).values():
        _, digest = split_digest(name) or (name, "")
        try:
            with _fetch_file(now, name) as path:
                require_digest(path, digest)
        except (OSError, StorageError) as error:
            yield f"{name}: the copy can't be read: {str(error).splitlines()[0]}; delete it, and run reelport compact"


@contextmanager
def _fetch_file(now: TableVersion, name: str) -> Iterator[Path]:
    """Give the path of the file itself; of an object store's a copy made now, for the block."""
    if find_remote(now.folder) is None:
        yield now.store.local_paths([name])[0]
        return
    with open_work_folder(now.folder.parent) as folder, closing(now.store.open(name)) as source:
        path = folder / "verified.parquet"
        with path.open("wb") as copy:
            for position in range(0, source.size, _CHUNK_BYTES):
                copy.write(source.read(position, _CHUNK_BYTES))
        yield path


def _check_columns(found: pa.Schema, table: Table, columns: frozenset[str]) -> Iterator[str]:
    declared = stored_schema(table.name)
    if foreign := [name for name in found.names if name not in declared.names]:
        yield f"the file's columns are not the table's: it has {', '.join(foreign)} more"
    if lost := [name for name in declared.names if name in columns and name not in found.names]:
        yield f"the file's columns are not the table's: it lacks {', '.join(lost)}"
    known = [field for field in declared if field.name in found.names]
    if not foreign and not lost and [(field.name, field.type) for field in found] != [(f.name, f.type) for f in known]:
        yield "the file's columns are not the table's: their order or types differ"


def _check_rows(whole: pq.ParquetFile, table: Table, file: DataFile) -> Iterator[str]:
    keys = list(sort_keys(table))
    last: pa.Table | None = None
    sorted_so_far, in_range, with_batch = True, True, True
    for batch in whole.iter_batches(ROW_GROUP):
        rows = pa.Table.from_batches([batch])
        joined = rows.select(keys) if last is None else pa.concat_tables([last, rows.select(keys)])
        sorted_so_far = sorted_so_far and is_sorted(joined)
        last = rows.select(keys).slice(rows.num_rows - 1)
        if table.time is not None and file.first is not None and file.last is not None:
            times = rows.column(table.time)
            in_range = in_range and not times.null_count and _is_within(file, pc.min_max(times).as_py())
            with_batch = with_batch and not rows.column(BATCH).null_count
    if not sorted_so_far:
        yield f"the rows are not sorted by {', '.join(keys)}"
    if not in_range:
        yield f"rows lie outside the times or the {MONTH} of the file's record"
    if not with_batch:
        yield "rows do not say which batch they came from"


def _is_within(file: DataFile, ends: Mapping[str, datetime]) -> bool:
    """Whether rows from the first time to the last are those of the file's record."""
    first, last = ends["min"], ends["max"]
    if file.first is None or file.last is None:
        return True
    return file.first <= first and last <= file.last and {f"{first:%Y-%m}", f"{last:%Y-%m}"} == {file.month}


def is_sorted(rows: pa.Table) -> bool:
    """Whether the rows are sorted by their columns, the first one first; nulls last."""
    if rows.num_rows < 2:  # noqa: PLR2004 - one row is always sorted
        return True
    before, after = rows.slice(0, rows.num_rows - 1), rows.slice(1)
    tied = pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows - 1)])
    for name in rows.column_names:
        one, other = before.column(name), after.column(name)
        falls = pc.or_(pc.fill_null(pc.greater(one, other), False), pc.and_(pc.is_null(one), pc.is_valid(other)))
        if pc.any(pc.and_(tied, falls)).as_py():
            return False
        same = pc.or_(pc.fill_null(pc.equal(one, other), False), pc.and_(pc.is_null(one), pc.is_null(other)))
        tied = pc.and_(tied, same)
    return True


@dataclass(frozen=True, slots=True)
class _LogChecks:
    """A log's check: number of commits, findings, and every data file ever named.

    `named` are the paths of all files that a commit added or removed. `columns` gives for each added file the columns
    of the log's schema at that commit; the file must have them. `digests` are those that commits record.
    """

    commits: int
    findings: tuple[str, ...]
    named: frozenset[str]
    columns: Mapping[str, frozenset[str]]
    digests: Mapping[str, str]


def _check_log(folder: Path, table: Table) -> _LogChecks:
    store = open_store(folder)
    versions = list_commits(store)
    findings: list[str] = []
    named: set[str] = set()
    active: set[str] = set()
    schema: frozenset[str] = frozenset()
    columns: dict[str, frozenset[str]] = {}
    digests: dict[str, str] = {}
    for version in range(max(versions, default=-1) + 1):
        try:
            commit = _parse_commit(read_actions(store, commit_name(version)))
        except FileNotFoundError:
            findings.append(f"commit {version} is missing from the log: {_describe_commit_cure(store, version)}")
            continue
        except DamagedCommit:
            findings.append(f"commit {version} of the log is damaged: {_describe_commit_cure(store, version)}")
            continue
        except (StorageError, ValueError, LookupError, TypeError, AttributeError) as error:
            findings.append(f"commit {version} of the log can't be read: {error!r}")
            continue
        schema = commit.schema or schema
        columns |= dict.fromkeys(commit.rows, schema)
        digests |= parse_digests(commit.info or {})
        named |= commit.rows.keys() | commit.removed
        active = (active - commit.removed) | commit.rows.keys()
        cure = _describe_commit_cure(store, version)
        findings += (f"commit {version} of the log {fault}" for fault in _find_faults(commit, table, active, cure))
    return _LogChecks(len(versions), tuple(findings), frozenset(named), columns, digests)


def _describe_commit_cure(store: FileStore, version: int) -> str:
    place = store.describe(commit_name(version))
    return f"put the file of a backup in place of {place}; a backup's manifest names its object"


@dataclass(frozen=True, slots=True)
class _Commit:
    info: Mapping[str, Any] | None
    rows: Mapping[str, int]
    removed: frozenset[str]
    schema: frozenset[str] | None


def _parse_commit(actions: Sequence[Mapping[str, Any]]) -> _Commit:
    adds = [action["add"] for action in actions if "add" in action]
    schemas = (json.loads(action["metaData"]["schemaString"]) for action in actions if "metaData" in action)
    return _Commit(
        next((action["commitInfo"] for action in actions if "commitInfo" in action), None),
        {add["path"]: int(json.loads(add["stats"])["numRecords"]) for add in adds},
        frozenset(action["remove"]["path"] for action in actions if "remove" in action),
        next((frozenset(field["name"] for field in schema["fields"]) for schema in schemas), None),
    )


def _find_faults(commit: _Commit, table: Table, active: Collection[str], cure: str) -> Iterator[str]:
    if commit.info is None:
        yield f"is truncated, and doesn't record what it did: {cure}"
        return
    if not table.is_fact:
        if commit.rows and len(active) > len(commit.rows):
            yield "replaced files, but did not remove them"
        return
    entry = commit.info.get("reelport", {})
    rows = sum(commit.rows.values())
    if entry.get("kind") in _WRITING_KINDS and rows != entry.get("rows", 0):
        yield f"adds files with {format_count(rows, 'row')}, but records {entry.get('rows', 0):,}"
