"""What a table's log tells of itself: that no commit is lost, cut, or at odds with what it says that it did.

It reads the files of the log as they are, for the library that reads them otherwise passes over an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelport.facts.log.delta_log import LOG_FOLDER, log_file
from reelport.facts.tables import Table
from reelport.wording import format_count

_WRITES = {"load", "compact"}
"""Commits of facts whose files hold as many rows as they tell."""


@dataclass(frozen=True, slots=True)
class LogChecks:
    """How many commits a log has, what is wrong with it, and what it says of every data file that it ever added.

    `columns` are those of the log's schema at the commit that added the file, which the file must have.
    """

    commits: int
    findings: tuple[str, ...]
    named: frozenset[str]
    columns: Mapping[str, frozenset[str]]


def check_log(folder: Path, table: Table) -> LogChecks:
    """Read every commit of the table, which lies in the folder."""
    versions = {int(path.stem) for path in (folder / LOG_FOLDER).glob("*.json") if path.stem.isdigit()}
    findings: list[str] = []
    named: set[str] = set()
    standing: set[str] = set()
    schema: frozenset[str] = frozenset()
    columns: dict[str, frozenset[str]] = {}
    for version in range(max(versions, default=-1) + 1):
        try:
            told = _read_commit(log_file(folder, version))
        except FileNotFoundError:
            findings.append(f"commit {version} is missing from the log")
            continue
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            findings.append(f"commit {version} of the log can't be read: {error!r}")
            continue
        schema = told.schema or schema
        columns |= dict.fromkeys(told.rows, schema)
        named |= told.rows.keys() | told.removed
        standing = (standing - told.removed) | told.rows.keys()
        findings += (f"commit {version} of the log {wrong}" for wrong in _find_faults(told, table, standing))
    return LogChecks(len(versions), tuple(findings), frozenset(named), columns)


@dataclass(frozen=True, slots=True)
class _Commit:
    """What a commit did and says of itself: its files and their rows, those that it took away, the schema it set."""

    info: Mapping[str, Any] | None
    rows: Mapping[str, int]
    removed: frozenset[str]
    schema: frozenset[str] | None


def _read_commit(path: Path) -> _Commit:
    actions = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    adds = [action["add"] for action in actions if "add" in action]
    return _Commit(
        next((action["commitInfo"] for action in actions if "commitInfo" in action), None),
        {add["path"]: int(json.loads(add["stats"])["numRecords"]) for add in adds},
        frozenset(action["remove"]["path"] for action in actions if "remove" in action),
        next((_column_names(action["metaData"]) for action in actions if "metaData" in action), None),
    )


def _column_names(meta: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(field["name"] for field in json.loads(meta["schemaString"])["fields"])


def _find_faults(told: _Commit, table: Table, standing: Collection[str]) -> Iterator[str]:
    if told.info is None:
        yield "is cut: it doesn't say what it did"
        return
    if not table.is_fact:
        if told.rows and len(standing) > len(told.rows):
            yield "leaves files standing that it put others in the place of"
        return
    entry = told.info.get("reelport", {})
    rows = sum(told.rows.values())
    if entry.get("kind") in _WRITES and rows != entry.get("rows", 0):
        yield f"names files of {format_count(rows, 'row')}, and says that it wrote {entry.get('rows', 0):,}"
