"""Plans one part of a view: its statement, and what that reads of facts and of rollups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from reelport.catalog import Dimension
from reelport.engine.aggregation import Aggregator
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.choice import RollupList
from reelport.engine.scan_estimate import Scan, list_scans
from reelport.engine.tenant import Tenant
from reelport.facts.log.role_copies import ROLES
from reelport.facts.log.snapshot import Snapshot
from reelport.server.explore.statements import Statement, compile_board, compile_lines, compile_totals
from reelport.server.explore.view import View

TOTALS, LINES = "totals", "lines"
Part = str | Dimension
"""A part of a view: TOTALS, LINES or the dimension of a leaderboard."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The statement of a part, and what it reads.

    `scans` are of facts alone. `kept_rows` are those of rollups, and of facts for the days that these lack; `rollups`
    chose them, None where no rollup is read. `plan_from_facts` plans the part without any, nor copies by role.
    """

    statement: Statement
    scans: tuple[Scan, ...]
    kept_rows: int
    rollups: RollupAggregator | None
    plan_from_facts: Callable[[], PartPlan]

    @property
    def may_read_copies(self) -> bool:
        """Whether what it reads of facts may be copies by role."""
        return any(scan.role in ROLES for scan in self.scans)


def plan_part(part: Part, view: View, tenant: Tenant, snapshot: Snapshot, rollups: RollupList) -> PartPlan:
    """Plan a part of a view by the rollups that a report of the same numbers would read."""
    aggregator = RollupAggregator(rollups)
    statement = _compile(part, view, tenant, snapshot, aggregator if rollups else DUCKDB)
    scans = [scan for query in statement.queries for scan in list_scans(query, tenant, snapshot)]
    # Choices and scans both go by query, then by source.
    readings = [choice.reading for choice in aggregator.choices] if rollups else [None] * len(scans)
    return PartPlan(
        statement,
        tuple(scan for scan, reading in zip(scans, readings, strict=True) if reading is None),
        sum(reading.rows for reading in readings if reading is not None),
        aggregator if aggregator.was_used else None,
        partial(plan_part, part, view, tenant, snapshot.without_copies(), RollupList()),
    )


def _compile(part: Part, view: View, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator) -> Statement:
    match part:
        case Dimension():
            return compile_board(view, part, tenant, snapshot, aggregator)
        case _:
            compile_whole = compile_totals if part == TOTALS else compile_lines
            return compile_whole(view, tenant, snapshot, aggregator)
