"""What one commit did: the record in each of Reelport's commits, and its spans of days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta

from reelport.errors import StorageError

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

    `undoes` is the version of the load that an undo takes back, 0 where the commit doesn't say. `files` are, for each
    of the `sources` of facts, the name that a batch of that file alone would have, and of a compressed one also of
    what it holds; loads of before don't say. `restated` are the days that standing replacements restate after the
    commit; None where it doesn't change them.
    """

    kind: str
    batch: str = ""
    rows: int = 0
    rejects: int = 0
    days: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    span: tuple[str, str] | None = None
    left_out: tuple[DayLeftOut, ...] = ()
    undoes: int = 0
    files: tuple[str, ...] = ()
    restated: tuple[Span, ...] | None = None
    version: int = field(default=-1, compare=False)
    at: datetime | None = field(default=None, compare=False)


def parse_entry(commit: dict[str, object]) -> LogEntry:
    """Parse a commit's record. StorageError when this version can't read it."""
    record = commit["reelport"]
    stamp, version = commit.get("timestamp"), commit.get("version")
    if not isinstance(record, dict) or not isinstance(stamp, int) or not isinstance(version, int):
        raise StorageError(f"commit {version} of the table has a record that this version can't read")
    span = record.get("span")
    return LogEntry(
        kind=str(record["kind"]),
        batch=str(record.get("batch", "")),
        rows=int(record.get("rows", 0)),
        rejects=int(record.get("rejects", 0)),
        days=tuple(record.get("days", ())),
        sources=tuple(record.get("sources", ())),
        span=(span[0], span[1]) if span else None,
        left_out=tuple(DayLeftOut(date.fromisoformat(day), *rest) for day, *rest in record.get("left_out", ())),
        undoes=int(record.get("undoes", 0)),
        files=tuple(record.get("files", ())),
        restated=tuple((date.fromisoformat(first), date.fromisoformat(last)) for first, last in record["restated"])
        if "restated" in record
        else None,
        version=version,
        at=datetime.fromtimestamp(stamp / 1000, UTC),
    )


def entry_to_json(entry: LogEntry) -> dict[str, object]:
    """Convert the entry to its commit's JSON; version and time are Delta's fields."""
    record = {name: value for name, value in asdict(entry).items() if name not in {"version", "at"} and value}
    if entry.left_out:
        record["left_out"] = [[one.day.isoformat(), one.rows, one.replaced_by] for one in entry.left_out]
    if entry.restated is not None:
        record["restated"] = [[first.isoformat(), last.isoformat()] for first, last in entry.restated]
    return record
