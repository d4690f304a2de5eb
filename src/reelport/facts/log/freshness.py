"""Tells up to which day each fact table is complete, and when it was loaded last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

from reelport.facts.log.complete_days import read_completeness
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.last_load import find_last_load
from reelport.facts.log.snapshot import ABSENT, Snapshot, pin
from reelport.facts.tables import TABLES

FACTS = tuple(name for name, table in TABLES.items() if table.is_fact)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh one fact table is.

    `complete` is its last complete day, None where it has none: later days may still move. `loaded` is the time of the
    last load that stands, None before the first. `first` is its first complete day: of those before there is no data.
    """

    table: str
    complete: date | None
    loaded: datetime | None
    first: date | None = None


def read_freshness(root: Path, today: date, tables: Iterable[str] = FACTS) -> Mapping[str, Freshness]:
    """Read the freshness of fact tables at their newest versions as of this day (UTC), by name."""
    return find_freshness(pin(root, tables), today)


def find_freshness(snapshot: Snapshot, today: date) -> Mapping[str, Freshness]:
    """Find the freshness of a snapshot's fact tables as of this day (UTC), by name."""
    return {name: _find_one(snapshot, name, today) for name in snapshot.listing if TABLES[name].is_fact}


def _find_one(snapshot: Snapshot, table: str, today: date) -> Freshness:
    files = snapshot.listing[table]
    loaded = _find_last_load(snapshot.root, table, snapshot.versions[table], files)
    days = read_completeness(snapshot.root, table, snapshot.versions[table], files, today)
    return Freshness(table, days.last, loaded, days.first)


# Once for these files, whose names no other table has.
@lru_cache(maxsize=2 * len(FACTS))
def _find_last_load(root: Path, table: str, version: int, _files: tuple[DataFile, ...]) -> datetime | None:
    last = None if version == ABSENT else find_last_load(root / table, version)
    return None if last is None else last.at
