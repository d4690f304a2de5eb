"""A table's history of loads: which are active or undone, and days replaced since.

A load is active until it is undone. A replacement restates its days: it says all that there is of them, even that there
is nothing. The log notes these days with each commit that changes them, so that nobody has to read its history for
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import takewhile
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.log.delta_log import RESTATED, TableVersion, open_table, read_newest, translate_delta_errors
from reelport.facts.log.log_entry import DayLeftOut, LogEntry, Span, intersect, merge_spans, parse_entry
from reelport.facts.log.log_files import list_tables, read_back
from reelport.facts.tables import Table, find_table


@dataclass(frozen=True, slots=True)
class Load:
    """A load of a batch. `replaced`: the days that it deleted first, if any.

    `left_out` are days of its files that it skipped, because they were replaced after the batch was first loaded.
    `files` are the names that batches of each of its `sources` alone would have.
    """

    table: str
    batch: str
    at: datetime | None
    rows: int
    rejects: int
    days: tuple[date, ...]
    replaced: tuple[date, date] | None
    sources: tuple[str, ...]
    version: int
    undone: bool = False
    left_out: tuple[DayLeftOut, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def restated(self) -> Span | None:
        """The days that it replaced a day or more after their end; others may have read them."""
        if self.replaced is None or self.at is None:
            return None
        return next(iter(intersect(self.replaced, [(date.min, self.at.date() - timedelta(days=2))])), None)

    def touches(self, start: date, end: date) -> bool:
        """Whether the load wrote, deleted or skipped any of these days."""
        if self.replaced is not None and self.replaced[0] <= end and self.replaced[1] >= start:
            return True
        return any(start <= day <= end for day in (*self.days, *(one.day for one in self.left_out)))


def list_loads(root: Path, table: str | None = None) -> tuple[Load, ...]:
    """List every load of the table, or of all tables, oldest first within each table."""
    chosen = list_tables(root) if table is None else (find_table(table),)
    return tuple(load for one in chosen for load in read_history(read_newest(root, one)))


def list_loads_since(root: Path, table: Table, since: datetime) -> tuple[Load, ...]:
    """List the loads of a table made since then, newest first. It reads one older load."""
    now = read_newest(root, table)
    return tuple(takewhile(lambda load: load.at is not None and load.at >= since, read_loads(now.folder, now.version)))


def read_history(now: TableVersion) -> tuple[Load, ...]:
    """Read every load of one table, oldest first, with undone loads marked."""
    return tuple(read_loads(now.folder, now.version))[::-1]


def read_loads(folder: Path, version: int) -> Iterator[Load]:
    """Yield the loads up to this version, newest first, with undone ones marked.

    No older commit is read than is asked for. Raises StorageError, and what a damaged log does, when it can't be read.
    """
    undone: set[int] = set()
    for entry in _read_entries(folder, version):
        if entry.kind == "undo":
            undone.add(entry.undoes)
        elif entry.kind in {"load", "replace"}:
            yield Load(
                table=folder.name,
                batch=entry.batch,
                at=entry.at,
                rows=entry.rows,
                rejects=entry.rejects,
                days=entry.days,
                replaced=entry.span,
                sources=entry.sources,
                version=entry.version,
                undone=entry.version in undone,
                left_out=entry.left_out,
                files=entry.files,
            )


def _read_entries(folder: Path, version: int) -> Iterator[LogEntry]:
    """Yield what each commit did, newest first; commits of other tools are left out."""
    return (parse_entry(commit) for commit in read_back(folder, version) if "reelport" in commit)


def find_last_load(folder: Path, version: int) -> Load | None:
    """Find the newest load that stands at this version. Raises what `read_loads` does."""
    return next((load for load in read_loads(folder, version) if not load.undone), None)


def active_batches(history: Iterable[Load]) -> frozenset[str]:
    """The batches that have a load which is not undone."""
    return frozenset(load.batch for load in history if not load.undone)


def find_superseded_days(history: Iterable[Load], batch: str, days: Iterable[date]) -> Mapping[date, str]:
    """Find which days were replaced since the batch was loaded, and by which batch last.

    A batch keeps its first place in history: undone and loaded again, it doesn't overwrite days that were replaced
    in between. Those replacements stay until they are undone themselves.
    """
    known = tuple(history)
    first = min((load.version for load in known if load.batch == batch), default=None)
    if first is None:
        return {}
    later = [load for load in known if load.version > first and not load.undone and load.replaced is not None]
    return {
        day: [load.batch for load in over][-1]
        for day in days
        if (over := [load for load in later if load.replaced and load.replaced[0] <= day <= load.replaced[1]])
    }


def find_load_of_file(history: Sequence[Load], names: Collection[str], batch: str) -> Load | None:
    """Find the newest active load with this file, some of whose days weren't replaced since.

    `names` are those that a batch of it alone would have. Replacements since the `batch` was first loaded don't
    count: it leaves out their days.
    """
    first = next((load.version for load in history if load.batch == batch), None)
    for place, load in reversed(tuple(enumerate(history))):
        is_left_out = first is not None and load.replaced is not None and load.version > first
        if load.undone or is_left_out or not {load.batch, *load.files}.intersection(names):
            continue
        spans = [later.replaced for later in history[place + 1 :] if later.replaced and not later.undone]
        if any(not any(span[0] <= day <= span[1] for span in spans) for day in load.days):
            return load
    return None


def find_load_to_undo(known: Iterable[Load], batch: str) -> Load:
    """Find the newest active load of the batch whose name is, or begins with, `batch`.

    Raises UsageError when there is none, or when several batches begin that way.
    """
    if not batch:
        raise UsageError("the batch to undo has no name: see reelport load list")
    prefixed = [load for load in known if load.batch.startswith(batch)]
    matches = [load for load in prefixed if load.batch == batch] or prefixed
    names = sorted({(load.table, load.batch) for load in matches})
    if not names:
        raise UsageError(f"no load has a batch that begins with {batch!r}: see reelport load list")
    if len(names) > 1:
        listed = ", ".join(f"{name} in {table}" for table, name in names[:5])
        raise UsageError(f"{batch!r} names {len(names)} batches ({listed}): write more of it, or give --table")
    active = [load for load in matches if not load.undone]
    if not active:
        raise UsageError(f"batch {matches[-1].batch} of {matches[-1].table} is undone already")
    return active[-1]


def read_restated(folder: Path, table: Table, version: int) -> tuple[Span, ...]:
    """Read the days that replacements restate at this version. StorageError for a bad log."""
    return _read_noted_spans(TableVersion(table, folder, version, (), open_table(folder, version)))


def restate(now: TableVersion, span: Span, today: date) -> tuple[Span, ...]:
    """Find the restated days after a replacement of this span is made on this day (UTC).

    It restates days that are over. Of a later one nobody can say yet what there will be.
    """
    return merge_spans([*_read_noted_spans(now), *intersect(span, [(date.min, today - timedelta(days=1))])])


def take_back(now: TableVersion, version: int) -> tuple[Span, ...]:
    """Find the restated days after an undo of a replacement that this table version made."""
    known = {entry.version: entry for entry in _read_entries(now.folder, now.version)}
    spans: list[Span] = []
    for load in read_history(now):
        if load.replaced is not None and not load.undone and load.version != version:
            spans += intersect(load.replaced, known[load.version].restated or ())
    return merge_spans(spans)


def _read_noted_spans(now: TableVersion) -> tuple[Span, ...]:
    if now.delta is None:
        return ()
    with translate_delta_errors(now.folder):
        version = now.delta.transaction_version(RESTATED)
    return () if version is None else next(_read_entries(now.folder, version)).restated or ()
