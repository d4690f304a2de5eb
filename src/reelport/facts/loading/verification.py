"""Verify tables: check each Delta log, and compare it with the bytes of the data files.

A file whose digest is right holds what was written: its columns and rows are not read. No commit of the log may be
missing, truncated or at odds with itself. The log is parsed here, because the Delta library skips an empty commit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reelport.errors import NewerData, StorageError
from reelport.facts.damage import DAMAGE_ERRORS
from reelport.facts.data_files.work_folders import list_work_folders, open_work_folder
from reelport.facts.log.delta_log import TableVersion, parse_digests, read_newest
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.log_files import DamagedCommit, commit_name, find_remote, list_commits, open_store, read_actions
from reelport.facts.log.role_copies import find_copies, is_data_file, list_roles, name_copy, split_digest
from reelport.facts.log.table_identity import was_made
from reelport.facts.tables import MONTH, TABLES, Table
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
    """Verify tables: gaps in logs; missing, unreadable or altered files; wrong records of them.

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
        findings += [f"{file.path}: {finding}" for finding in _check_file(now, file, log.digests.get(file.path))]
        findings += _check_copies(now, file)
    rows = sum(file.rows for file in now.files)
    return VerifyResult(table.name, len(now.files), rows, tuple(findings), left)


def _check_file(now: TableVersion, file: DataFile, digest: str | None) -> Iterator[str]:
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
            else:
                yield from _check_record(pq.read_metadata(path), now.table, file)
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


def _check_record(found: pq.FileMetaData, table: Table, file: DataFile) -> Iterator[str]:
    """Compare a file's record, which no digest proves, with what the file says of itself."""
    if found.num_rows != file.rows:
        yield f"the file has {format_count(found.num_rows, 'row')}, its record {file.rows:,}"
    if table.time is None or file.first is None or file.last is None:
        return
    place = found.schema.to_arrow_schema().get_field_index(table.time)
    ends = [found.row_group(group).column(place).statistics for group in range(found.num_row_groups)]
    first, last = min(each.min for each in ends), max(each.max for each in ends)
    if not (file.first <= first and last <= file.last and {f"{first:%Y-%m}", f"{last:%Y-%m}"} == {file.month}):
        yield f"rows lie outside the times or the {MONTH} of the file's record"


@dataclass(frozen=True, slots=True)
class _LogChecks:
    """A log's check: number of commits, findings, and every data file ever named.

    `named` are the paths of all files that a commit added or removed. `digests` are those that commits record.
    """

    commits: int
    findings: tuple[str, ...]
    named: frozenset[str]
    digests: Mapping[str, str]


def _check_log(folder: Path, table: Table) -> _LogChecks:
    store = open_store(folder)
    versions = list_commits(store)
    findings: list[str] = []
    named: set[str] = set()
    active: set[str] = set()
    digests: dict[str, str] = {}
    for version in range(max(versions, default=-1) + 1):
        try:
            actions = read_actions(store, commit_name(version))
            info = next((action["commitInfo"] for action in actions if "commitInfo" in action), None)
            adds = [action["add"] for action in actions if "add" in action]
            rows = {add["path"]: int(json.loads(add["stats"])["numRecords"]) for add in adds}
            removed = {action["remove"]["path"] for action in actions if "remove" in action}
        except FileNotFoundError:
            findings.append(f"commit {version} is missing from the log: {_describe_commit_cure(store, version)}")
            continue
        except DamagedCommit:
            findings.append(f"commit {version} of the log is damaged: {_describe_commit_cure(store, version)}")
            continue
        except (StorageError, ValueError, LookupError, TypeError, AttributeError) as error:
            findings.append(f"commit {version} of the log can't be read: {error!r}")
            continue
        digests |= parse_digests(info or {})
        named |= rows.keys() | removed
        active = (active - removed) | rows.keys()
        if info is None:
            cure = _describe_commit_cure(store, version)
            findings.append(f"commit {version} of the log is truncated, and doesn't record what it did: {cure}")
        elif fault := _find_fault(info, rows, table, active):
            findings.append(f"commit {version} of the log {fault}")
    return _LogChecks(len(versions), tuple(findings), frozenset(named), digests)


def _describe_commit_cure(store: FileStore, version: int) -> str:
    place = store.describe(commit_name(version))
    return f"put the file of a backup in place of {place}; a backup's manifest names its object"


def _find_fault(info: Mapping[str, Any], rows: Mapping[str, int], table: Table, active: Collection[str]) -> str | None:
    """Find what is wrong with a commit that adds these rows; `active` are the files after it."""
    if not table.is_fact:
        return "replaced files, but did not remove them" if rows and len(active) > len(rows) else None
    entry, added = info.get("reelport", {}), sum(rows.values())
    if entry.get("kind") in _WRITING_KINDS and added != entry.get("rows", 0):
        return f"adds files with {format_count(added, 'row')}, but records {entry.get('rows', 0):,}"
    return None
