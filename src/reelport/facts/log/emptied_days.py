"""Which days replacements have left without rows: nobody needs to wait for those.

Read from the log's own text: a worker asks for it too, and goes without the Delta library.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import lru_cache, partial
from pathlib import Path

from reelport.errors import ReelportError
from reelport.facts.log.log_entry import LogEntry, parse_entry
from reelport.facts.log.log_files import commit_name, open_store, read_actions, read_each


def find_emptied_days(folder: Path, version: int, days: Iterable[date]) -> frozenset[date]:
    """Find which of these days a replacement that stands at this version has emptied.

    None of them has rows. Where the log can't be read, none is found: nothing shows then that one was emptied on
    purpose.
    """
    try:
        entries = [entry for entry in read_each(folder, range(version + 1), partial(_read_entry, folder)) if entry]
    except (OSError, ValueError, LookupError, TypeError, ReelportError):
        return frozenset()
    spans = [entry.span for entry in _find_standing(entries) if entry.span is not None]
    return frozenset(day for day in days if any(first <= day.isoformat() <= last for first, last in spans))


def _find_standing(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """Find the loads that no later undo takes back."""
    standing: list[LogEntry] = []
    for entry in entries:
        if entry.kind in {"load", "replace"}:
            standing.append(entry)
        elif entry.kind == "undo":
            undone = [each for each in standing if each.batch == entry.batch and entry.undoes in {0, each.version}]
            standing = [each for each in standing if each not in undone[-1:]]
    return standing


# What a commit says never changes, and the next version asks for all those before it again.
@lru_cache(maxsize=4096)
def _read_entry(folder: Path, version: int) -> LogEntry | None:
    """Read what a commit did, without its days and files; None of one that isn't Reelport's."""
    for action in read_actions(open_store(folder), commit_name(version)):
        if "reelport" in (info := action.get("commitInfo", {})):
            entry = parse_entry({**info, "version": version})
            return LogEntry(entry.kind, entry.batch, span=entry.span, undoes=entry.undoes, version=version)
    return None
