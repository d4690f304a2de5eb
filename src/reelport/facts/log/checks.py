"""Check a table's Delta log: no commit missing, truncated or at odds with itself.

This module parses the log's files itself, because the Delta library skips an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelport.errors import StorageError
from reelport.facts.log.delta_log import parse_digests
from reelport.facts.log.log_files import DamagedCommit, commit_name, list_commits, open_store, read_actions
from reelport.facts.tables import Table
from reelport.storage.file_store import FileStore
from reelport.wording import format_count

_WRITING_KINDS = {"load", "compact"}
"""Kinds of commits to fact tables whose files must hold exactly the rows that the commit records."""


@dataclass(frozen=True, slots=True)
class LogChecks:
    """A log's check: number of commits, findings, and every data file ever named.

    `named` are the paths of all files that a commit added or removed. `columns` gives for each added file the columns
    of the log's schema at that commit; the file must have them. `digests` are those that commits record.
    """

    commits: int
    findings: tuple[str, ...]
    named: frozenset[str]
    columns: Mapping[str, frozenset[str]]
    digests: Mapping[str, str]


def check_log(folder: Path, table: Table) -> LogChecks:
    """Read and check every commit in the table's folder."""
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
            findings.append(f"commit {version} is missing from the log: {_describe_cure(store, version)}")
            continue
        except DamagedCommit:
            findings.append(f"commit {version} of the log is damaged: {_describe_cure(store, version)}")
            continue
        except (StorageError, ValueError, LookupError, TypeError, AttributeError) as error:
            findings.append(f"commit {version} of the log can't be read: {error!r}")
            continue
        schema = commit.schema or schema
        columns |= dict.fromkeys(commit.rows, schema)
        digests |= parse_digests(commit.info or {})
        named |= commit.rows.keys() | commit.removed
        active = (active - commit.removed) | commit.rows.keys()
        cure = _describe_cure(store, version)
        findings += (f"commit {version} of the log {fault}" for fault in _find_faults(commit, table, active, cure))
    return LogChecks(len(versions), tuple(findings), frozenset(named), columns, digests)


def _describe_cure(store: FileStore, version: int) -> str:
    place = store.describe(commit_name(version))
    return f"put the file of a backup in place of {place}; a backup's manifest names its object"


@dataclass(frozen=True, slots=True)
class _Commit:
    """A parsed commit: record, files added with rows, files removed, schema set."""

    info: Mapping[str, Any] | None
    rows: Mapping[str, int]
    removed: frozenset[str]
    schema: frozenset[str] | None


def _parse_commit(actions: Sequence[Mapping[str, Any]]) -> _Commit:
    adds = [action["add"] for action in actions if "add" in action]
    return _Commit(
        next((action["commitInfo"] for action in actions if "commitInfo" in action), None),
        {add["path"]: int(json.loads(add["stats"])["numRecords"]) for add in adds},
        frozenset(action["remove"]["path"] for action in actions if "remove" in action),
        next((_column_names(action["metaData"]) for action in actions if "metaData" in action), None),
    )


def _column_names(meta: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(field["name"] for field in json.loads(meta["schemaString"])["fields"])


def _find_faults(commit: _Commit, table: Table, active: Collection[str], cure: str) -> Iterator[str]:
    """Yield what is wrong with a commit; `active` are the files in use after it."""
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
