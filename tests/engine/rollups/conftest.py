"""A data directory whose rows, files and rollups a test changes, and its reports with and without rollups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pytest

from reelport.catalog import Grain
from reelport.engine.aggregation import DUCKDB
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.rollups.build import BuiltMonth, build_rollups
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.rollups.columns import make_rollup
from reelport.engine.tenant import Tenant
from reelport.facts.loading.compaction import CompactedMonth, compact
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.undo import undo_load
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.rollups import Rollup, add_rollup
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

FIRST, LAST = date(2026, 1, 28), date(2026, 2, 4)
"""The days of the facts: of two months."""
MINE = Tenant(frozenset({"c1", "c2"}))
ROOM = 10**9


def play(day: date, number: int, like: Mapping[str, object]) -> dict[str, object]:
    """A row of plays of that day, one of a few that differ in every column that reports below ask for."""
    started = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=number % 3, minutes=number)
    return {
        "started_at": started,
        "video_id": f"x{number % 2}",
        "owner_channel_id": f"c{number % 4}",
        "publisher_channel_id": (None, "c1", "c9")[number % 3],
        "media_type": ("video", "live")[number % 2],
        "visitor_country": ("FR", None)[number % 2],
        "views": number,
        "time_watched_seconds": 7 * number,
        "watchable_seconds": None if number % 3 == 0 else 11 * number,
        **like,
    }


@dataclass
class Facts:
    """The data directory, and what was done to it."""

    root: Path
    engine: QueryEngine
    count: int = 0
    pinned: list[Snapshot] = field(default_factory=list)

    def add(self, *columns: str, table: str = "plays", grain: Grain = Grain.DAY) -> Rollup:
        """Add a rollup."""
        rollup = make_rollup(table, columns, grain)
        add_rollup(self.root, rollup)
        return rollup

    def load(
        self,
        *days: date,
        rows: int = 5,
        span: tuple[date, date] | None = None,
        like: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """Load a batch of a few rows a day, no two alike; with a span it replaces these days."""
        self.count += 1
        found = [play(day, self.count + at, like) for day in days for at in range(rows)]
        batch = f"batch {self.count}"
        load_arrow(self.root, "plays", pa.Table.from_pylist(found), batch, replace=span)
        return batch

    def undo(self, place: int) -> bool:
        """Take back one of the loads, if there is one."""
        loads = [one for one in list_loads(self.root, "plays") if not one.undone]
        if loads:
            undo_load(self.root, loads[place % len(loads)])
        return bool(loads)

    def compact(self) -> tuple[CompactedMonth, ...]:
        """Merge every month."""
        return compact(self.root, today=date(2026, 6, 1))

    def vacuum(self) -> None:
        """Delete what the newest version doesn't need, as after days."""
        vacuum(self.root, now=datetime.now(UTC) + timedelta(days=9))
        self.pinned.clear()

    def build(self, space: int = ROOM) -> tuple[BuiltMonth, ...]:
        """Build all rollups."""
        return build_rollups(self.root, space=space)

    def pin(self) -> Snapshot:
        """Pin the newest version, as a report does."""
        self.pinned.append(pin(self.root, TABLES))
        return self.pinned[-1]

    def report(
        self, query: ReportQuery, snapshot: Snapshot | None = None, *, tenant: Tenant = MINE
    ) -> tuple[str, RollupAggregator]:
        """The report's text, which is the same with rollups as without; and what the rollups were chosen for it."""
        aggregator = RollupAggregator(RollupList.read(self.root))
        pinned = pin(self.root, tables_of(query)) if snapshot is None else snapshot
        texts = []
        for each in (aggregator, DUCKDB):
            path = self.root.parent / "report.csv"
            session = self.engine.session()
            session.write(plan_pieces(query, tenant, pinned, aggregator=each, worth=0), path)
            session.close()
            texts.append(path.read_text())
        assert texts[0] == texts[1]
        return texts[0], aggregator


@pytest.fixture
def facts(tmp_path: Path, engine: QueryEngine) -> Facts:
    return Facts(tmp_path / "facts", engine)
