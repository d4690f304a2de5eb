"""What a log's newest commits tell: days left empty by replacements, and the last load.

Nobody needs to wait for rows of such a day.
Read from the log's own text, from the newest commit back: of a long log only as far as is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from reelport.errors import StorageError
from reelport.facts.log.log_entry import LogEntry, parse_entry
from reelport.facts.log.log_files import (
    choose_older,
    commit_name,
    find_commit_tag,
    open_store,
    read_actions,
    read_each,
)
from reelport.facts.log.remote_tables import describe_place
from reelport.facts.tables import TABLES

_AHEAD = timedelta(days=31)
"""How long before a day comes a replacement may empty it: a pause is known before it, and no clock is off by that."""
_WITNESSES = 8
"""Commits of which each must tell that the log reaches back far enough: one machine's clock may begin in 1970."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What the commits from version `low` to `high` did, newest first.

    `tag` is that of the newest commit's file.
    """

    low: int
    high: int
    tag: str
    entries: tuple[LogEntry, ...] = ()

    def before(self, version: int) -> _Stretch:
        """The same commits, without those of this version and later ones."""
        return _Stretch(self.low, version - 1, "", tuple(entry for entry in self.entries if entry.version < version))

    def extend(self, older: _Stretch) -> _Stretch:
        """These commits and the older ones right before them."""
        return _Stretch(older.low, self.high, self.tag, self.entries + older.entries)


@dataclass(slots=True)
class _Memory:
    """The commits of one table that were read already."""

    stretch: _Stretch | None = None


def find_emptied_days(folder: Path, version: int, days: Iterable[date]) -> frozenset[date]:
    """Find which of these days a replacement that stands at this version has emptied.

    None of them has rows. Raises StorageError, and what a damaged log does, when the log can't be read.
    """
    asked = frozenset(days)
    if not asked:
        return asked

    def is_enough(entries: Sequence[LogEntry]) -> bool:
        return _find_covered(entries, asked) == asked or _reaches_before(entries, min(asked))

    return _find_covered(_read_until(folder, version, is_enough), asked)


def find_last_load(folder: Path, version: int) -> LogEntry | None:
    """Find the newest load that stands at this version, without its days and files.

    Raises what `find_emptied_days` raises.
    """

    def is_enough(entries: Sequence[LogEntry]) -> bool:
        return any(True for _ in _list_standing(entries))

    return next(_list_standing(_read_until(folder, version, is_enough)), None)


def _read_until(folder: Path, version: int, is_enough: Callable[[Sequence[LogEntry]], bool]) -> tuple[LogEntry, ...]:
    """Read commits from this version back until they are enough, or to the first.

    They are remembered, unless later ones are.
    """
    tag = find_commit_tag(open_store(folder), version)
    if tag is None:
        raise StorageError(f"version {version} of {folder} is gone")
    memory = _find_memory(folder.absolute())
    known = _recall(folder, memory.stretch)
    is_newest = known is None or known.high <= version
    read = _Stretch(version + 1, version, tag)
    while read.low and not is_enough(read.entries):
        read = _read_on(folder, read, known)
        if is_newest and (known is None or read.low <= known.low):
            # At once: where an older commit can't be read, the next call begins there.
            memory.stretch = read
    if is_newest:
        memory.stretch = read
    return read.entries


def _reaches_before(entries: Sequence[LogEntry], day: date) -> bool:
    """Whether the oldest commits are from long before the day: one that emptied it came later."""
    times = [entry.at for entry in entries[-_WITNESSES:]]
    return len(times) == _WITNESSES and all(at is not None and at.date() < day - _AHEAD for at in times)


def _recall(folder: Path, known: _Stretch | None) -> _Stretch | None:
    """Recall what was read of this very table, and not of one of the same name before it."""
    return known if known is not None and find_commit_tag(open_store(folder), known.high) == known.tag else None


def _read_on(folder: Path, read: _Stretch, known: _Stretch | None) -> _Stretch:
    """Read some commits before these, and add those that are known already behind them."""
    low = choose_older(read.high, read.low)
    if known is not None and known.low < read.low:
        low = min(max(low, known.high + 1), read.low)
    versions = range(read.low - 1, low - 1, -1)
    entries = tuple(entry for entry in read_each(folder, versions, partial(_read_entry, folder)) if entry)
    read = read.extend(_Stretch(low, read.low - 1, "", entries))
    joins = known is not None and known.low < read.low <= known.high + 1
    return read.extend(known.before(read.low)) if known is not None and joins else read


def _find_covered(entries: Iterable[LogEntry], days: Collection[date]) -> frozenset[date]:
    """Find those of the days that a standing replacement covers, by commits from the newest on."""
    spans = [entry.span for entry in _list_standing(entries) if entry.span is not None]
    return frozenset(day for day in days if any(first <= day.isoformat() <= last for first, last in spans))


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


@lru_cache(maxsize=2 * len(TABLES))
def _find_memory(_folder: Path) -> _Memory:
    return _Memory()


def _read_entry(folder: Path, version: int) -> LogEntry | None:
    """Read what a commit did to loads, without its days and files; None of another commit."""
    for action in _read_actions(folder, version):
        if "reelport" in (info := action.get("commitInfo", {})):
            entry = parse_entry({**info, "version": version})
            is_known = 0 < entry.undoes < version and _is_load_of(folder, entry.undoes, entry.batch)
            undoes = entry.undoes if is_known else 0
            if entry.kind in {"load", "replace", "undo"}:
                return LogEntry(entry.kind, entry.batch, span=entry.span, undoes=undoes, version=version, at=entry.at)
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
