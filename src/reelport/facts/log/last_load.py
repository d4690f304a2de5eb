"""Finds the last load of a table, in the newest commits of its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from reelport.errors import StorageError
from reelport.facts.log.log_entry import LogEntry, parse_entry
from reelport.facts.log.log_files import commit_name, open_store, read_actions, read_each
from reelport.facts.log.remote_tables import describe_place


def find_last_load(folder: Path, version: int) -> LogEntry | None:
    """Find the newest load that stands at this version, without its days and files.

    Mostly the newest commits tell: each look reads as many as all before it. Raises StorageError, and what a damaged
    log does, when the log can't be read.
    """
    entries: list[LogEntry] = []
    high, step = version, 1
    while high >= 0:
        versions = range(high, max(high - step, -1), -1)
        high, step = high - step, 2 * step
        entries += filter(None, read_each(folder, versions, partial(_read_entry, folder)))
        if (found := next(_list_standing(entries), None)) is not None:
            return found
    return None


def _list_standing(entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """Yield the loads that no later undo takes back, newest first.

    An undo that doesn't say which load of its batch it takes back takes the newest that stands.
    """
    undone: set[tuple[str, int]] = set()
    unsaid = Counter[str]()
    for entry in entries:
        if entry.kind == "undo":
            undone.add((entry.batch, entry.undoes))
            unsaid[entry.batch] += not entry.undoes
        elif (entry.batch, entry.version) in undone and entry.version:
            continue
        elif unsaid[entry.batch]:
            unsaid[entry.batch] -= 1
        else:
            yield entry


def _read_entry(folder: Path, version: int) -> LogEntry | None:
    """Read what a commit did to loads, without its days and files; None of another commit."""
    for action in _read_actions(folder, version):
        if "reelport" in (info := action.get("commitInfo", {})):
            entry = parse_entry({**info, "version": version})
            is_known = 0 < entry.undoes < version and _is_load_of(folder, entry.undoes, entry.batch)
            undoes = entry.undoes if is_known else 0
            if entry.kind in {"load", "replace", "undo"}:
                return LogEntry(entry.kind, entry.batch, undoes=undoes, version=version, at=entry.at)
    return None


def _read_actions(folder: Path, version: int) -> list[dict[str, Any]]:
    try:
        return read_actions(open_store(folder), commit_name(version))
    except FileNotFoundError as error:
        raise StorageError(f"{describe_place(folder)}: commit {version} is gone; run reelport verify") from error


def _is_load_of(folder: Path, version: int, batch: str) -> bool:
    """Whether a commit loaded the batch: undos of earlier versions may name another load."""
    found = _read_entry(folder, version)
    return found is not None and found.kind != "undo" and found.batch == batch
