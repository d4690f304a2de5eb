"""Lists the rollups that are stored, and what of each is valid for the newest facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reelport.engine.rollups.choice import choose_parts
from reelport.engine.rollups.shape import identity_of
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import Rollup, list_files_by_day, list_rollups, list_segments


@dataclass(frozen=True, slots=True)
class StoredRollup:
    """A rollup, how many days of the newest facts it has, and what it takes.

    `rows` are those of these days, `fact_rows` all of the table's.
    """

    rollup: Rollup
    valid_days: int
    all_days: int
    rows: int
    fact_rows: int
    bytes: int


def list_stored(root: Path) -> tuple[StoredRollup, ...]:
    """List every rollup, by name."""
    return tuple(_describe(root, rollup) for rollup in list_rollups(root))


def _describe(root: Path, rollup: Rollup) -> StoredRollup:
    files = pin(root, (rollup.table,)).listing[rollup.table]
    by_day = list_files_by_day(files)
    parts = choose_parts(list_segments(root, rollup, identity_of(rollup)), by_day)
    rows = sum(segment.days[day].rows for segment, days in parts for day in days)
    valid = sum(len(days) for _, days in parts)
    size = sum(segment.data.stat().st_size for segment, _ in parts if segment.data.exists())
    return StoredRollup(rollup, valid, len(by_day), rows, sum(file.rows for file in files), size)
