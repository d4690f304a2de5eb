"""What a commit of the Delta log records: what it did, and its data files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from reelport.errors import StorageError

MONTH_FILE = "month-"
"""Prefix of the names of compacted files; the name of a day file begins with its day."""
_MARKED = re.compile(r"(?:.*/)?month-([0-9a-f]{8})-[0-9a-f]+\.parquet")


def name_month(days: Iterable[date]) -> str:
    """Name a month file by its days: one bit each, lowest for the first of the month."""
    return f"{MONTH_FILE}{sum(1 << (day - 1) for day in {one.day for one in days}):08x}"


def parse_days(path: str) -> frozenset[int] | None:
    """Parse the days of the month that a month file's name tells; None for any other name."""
    found = _MARKED.fullmatch(path)
    if found is None:
        return None
    bits = int(found[1], 16)
    return frozenset(day for day in range(1, 32) if bits >> (day - 1) & 1)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table, as the Delta log records it.

    `path` is relative to the table's folder. Files of fact tables have a month, the first
    and last moment (or day) of their rows, and the lowest and highest owner channel. Files of objects that are counted
    by their days have the moment at which the `newest` came into being.
    """

    path: str
    size: int
    rows: int
    month: str | None = None
    first: datetime | date | None = None
    last: datetime | date | None = None
    low_owner: str | None = None
    high_owner: str | None = None
    newest: datetime | None = None
    digest: str | None = field(default=None, compare=False)
    """What a file that was just written has; of those in the log `delta_log` reads it."""

    first_day: date = field(init=False, repr=False, compare=False)
    """The day of the first row; `date.min` for files of object tables, whose rows have no day."""
    last_day: date = field(init=False, repr=False, compare=False)
    """The day of the last row; `date.max` for files of object tables, whose rows have no day."""

    def __post_init__(self) -> None:
        # Once: a view looks some twenty times at each file of its table.
        object.__setattr__(self, "first_day", _to_day(self.first) or date.min)
        object.__setattr__(self, "last_day", _to_day(self.last) or date.max)

    def __hash__(self) -> int:
        return hash(self.path)  # no other file has it

    def list_days(self) -> list[date]:
        """List the days with rows of a file of facts."""
        days = [self.first_day + timedelta(days=place) for place in range((self.last_day - self.first_day).days + 1)]
        known = parse_days(self.path) if len(days) > 1 else None
        return days if known is None else [day for day in days if day.day in known]

    def touches(self, start: date | None, end: date | None) -> bool:
        """Whether the file may hold a row between the two days, both included."""
        return (end is None or self.first_day <= end) and (start is None or self.last_day >= start)


def _to_day(moment: datetime | date | None) -> date | None:
    return moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment


Span = tuple[date, date]
_DAY = timedelta(days=1)


def merge_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Merge spans that overlap or adjoin, in the order of their days."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + _DAY:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def intersect(span: Span, others: Iterable[Span]) -> tuple[Span, ...]:
    """Find what the other spans have of this one."""
    found = ((max(span[0], first), min(span[1], last)) for first, last in others)
    return tuple((first, last) for first, last in found if first <= last)


def is_within(day: date, spans: Iterable[Span]) -> bool:
    """Whether one of the spans has this day."""
    return any(first <= day <= last for first, last in spans)


@dataclass(frozen=True, slots=True)
class DayLeftOut:
    """A day that a load skipped: its rows in the load, and the batch that replaced it."""

    day: date
    rows: int
    replaced_by: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one commit did, as recorded in the commit itself.

    `undoes` is the version of the load that an undo takes back. `files` are, for each of the `sources` of facts, the
    name that a batch of that file alone would have, and of a compressed one also of what it holds. `restated` are the
    days that standing replacements restate after the commit; None where it doesn't change them.
    """

    kind: str
    batch: str = ""
    rows: int = 0
    rejects: int = 0
    days: tuple[date, ...] = ()
    sources: tuple[str, ...] = ()
    span: Span | None = None
    left_out: tuple[DayLeftOut, ...] = ()
    undoes: int = 0
    files: tuple[str, ...] = ()
    restated: tuple[Span, ...] | None = None
    version: int = field(default=-1, compare=False)
    at: datetime | None = field(default=None, compare=False)


def parse_entry(commit: Mapping[str, Any]) -> LogEntry:
    """Parse a commit's record. StorageError when this version can't read it."""
    record, stamp, version = commit["reelport"], commit.get("timestamp"), commit.get("version")
    if not isinstance(record, dict) or not isinstance(stamp, int) or not isinstance(version, int):
        raise StorageError(f"commit {version} of the table has a record that this version can't read")
    span, restated = record.get("span"), record.get("restated")
    return LogEntry(
        kind=str(record["kind"]),
        batch=str(record.get("batch", "")),
        rows=int(record.get("rows", 0)),
        rejects=int(record.get("rejects", 0)),
        days=tuple(map(date.fromisoformat, record.get("days", ()))),
        sources=tuple(map(str, record.get("sources", ()))),
        span=span and _parse_span(span),
        left_out=tuple(
            DayLeftOut(date.fromisoformat(day), int(rows), str(by)) for day, rows, by in record.get("left_out", ())
        ),
        undoes=int(record.get("undoes", 0)),
        files=tuple(map(str, record.get("files", ()))),
        restated=None if restated is None else tuple(map(_parse_span, restated)),
        version=version,
        at=datetime.fromtimestamp(stamp / 1000, UTC),
    )


def _parse_span(days: Sequence[str]) -> Span:
    first, last = map(date.fromisoformat, days)
    return first, last


def entry_to_json(entry: LogEntry) -> dict[str, object]:
    """Convert the entry to its commit's JSON; version and time are Delta's fields."""
    given = {one.name: getattr(entry, one.name) for one in fields(entry) if one.name not in {"version", "at"}}
    record = {name: value for name, value in given.items() if value or (name == "restated" and value is not None)}
    written = json.dumps(record, default=lambda one: one.isoformat() if isinstance(one, date) else astuple(one))
    return dict(json.loads(written))
