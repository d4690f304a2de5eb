"""Counters in the state, for metrics, which only grow, and the end of the last backup.

They count over all processes, restarts and sweeps. A transaction increments them at its end, together with the change
that they count, and always in the same order, so that two transactions never deadlock.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Engine

from reelport.server.state.database import reading
from reelport.server.state.statements import Statements

_SQL = Statements("state/tallies")
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 7200.0)
"""Upper bounds of the histogram's buckets, in seconds; one more bucket without a bound holds all longer times."""

_SUM = "sum"
_BACKUP = "last backup"


class Counted(StrEnum):
    """What is counted. Each but the bytes has labels."""

    ENDED = "ended"
    """Reports that ended, by an outcome and a reason: `count_end`."""
    ROLLUP_CHECK = "rollup check"
    """Reports that were made both ways, by RollupCheck."""
    FALLBACK = "fallback"
    """Reports that were made without what could not be read, by Fallback."""
    FETCHED = "fetched bytes"
    """Bytes that reports have fetched from an object store."""


class Outcome(StrEnum):
    """How a report ended."""

    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Times(StrEnum):
    """What is timed: the wait for the first attempt, and the attempt that made the file."""

    WAITING = "waiting"
    MAKING = "making"


class RollupCheck(StrEnum):
    """How a report made from rollups compared with one made from the facts."""

    SAME = "same"
    DIFFERENT = "different"


class Fallback(StrEnum):
    """What could not be read of what is kept beside the facts."""

    SUMS = "sums"
    COPIES = "copies"


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of seconds: `counts` per bucket of BOUNDS and one more, and their `total`."""

    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True)
class Tallies:
    """All counters. `last_backup` is its end in seconds since 1970; 0 before the first."""

    ended: dict[tuple[str, str], int]
    times: dict[Times, Histogram]
    rollup_checks: dict[RollupCheck, int]
    fallbacks: dict[Fallback, int]
    fetched_bytes: int
    last_backup: float


def count(connection: Connection, counted: Counted, label: str = "", number: int = 1) -> None:
    """Add to a counter."""
    _add(connection, {(counted, label): number})


def count_end(connection: Connection, outcome: Outcome, reason: str = "", *, times: int = 1) -> None:
    """Count reports that ended with this outcome; `reason` is one of a few codes."""
    if times:
        count(connection, Counted.ENDED, f"{outcome} {reason}", times)


def count_finished(connection: Connection, seconds: float) -> None:
    """Count a finished report, and the seconds that its attempt took."""
    _add(connection, {(Counted.ENDED, f"{Outcome.FINISHED} "): 1, **_count_time(Times.MAKING, seconds)})


def count_started(connection: Connection, seconds: float) -> None:
    """Count a report whose first attempt begins `seconds` after its ask."""
    _add(connection, _count_time(Times.WAITING, seconds))


def record_backup(connection: Connection, ended_at: datetime) -> None:
    """Record when a backup ended, in place of the one before."""
    moment = round(ended_at.timestamp() * 1000)
    _SQL.run(connection, "set", {"name": _BACKUP, "label": "", "value": moment})


def read_tallies(db: Engine) -> Tallies:
    """Read all counters. StorageError when the state can't be read."""
    with reading(db) as connection:
        rows = {(name, label): value for name, label, value in _SQL.run(connection, "all")}
    ended = {}
    for (name, label), value in rows.items():
        if name == Counted.ENDED:
            outcome, _, reason = label.partition(" ")
            ended[outcome, reason] = value
    checks = {outcome: rows.get((Counted.ROLLUP_CHECK, outcome), 0) for outcome in RollupCheck}
    fallbacks = {unread: rows.get((Counted.FALLBACK, unread), 0) for unread in Fallback}
    buckets = [_format_bucket(place) for place in range(len(BOUNDS) + 1)]
    times = {
        each: Histogram(tuple(rows.get((each, bucket), 0) for bucket in buckets), rows.get((each, _SUM), 0) / 1000)
        for each in Times
    }
    last_backup = rows.get((_BACKUP, ""), 0) / 1000
    return Tallies(ended, times, checks, fallbacks, rows.get((Counted.FETCHED, ""), 0), last_backup)


def _count_time(times: Times, seconds: float) -> dict[tuple[str, str], int]:
    seconds = max(seconds, 0.0)  # a clock may have been set back since
    return {(times, _format_bucket(bisect_left(BOUNDS, seconds))): 1, (times, _SUM): round(seconds * 1000)}


def _format_bucket(place: int) -> str:
    return str(BOUNDS[place]) if place < len(BOUNDS) else "more"


def _add(connection: Connection, counts: dict[tuple[str, str], int]) -> None:
    rows = [{"name": str(name), "label": label, "value": counts[name, label]} for name, label in sorted(counts)]
    _SQL.run(connection, "add", rows)
