"""The explorer's engine: compiles a view within its read budget, and runs its statements.

Importing this module loads DuckDB: a process does so at its first view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from reelport.catalog import Dimension
from reelport.engine.duckdb.engine import Engine, Session
from reelport.engine.duckdb.row_groups import RowGroupIndex
from reelport.engine.plan import Plan
from reelport.engine.scan_estimate import list_scans
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.server.control_group import count_cores
from reelport.server.explore.numbers import Numbers, OverBudget, Totals
from reelport.server.explore.row_cache import RowCache
from reelport.server.explore.statements import (
    Rows,
    Statement,
    add_up_lines,
    compile_board,
    compile_lines,
    compile_totals,
    is_total_of_lines,
    read_leaderboard,
    read_lines,
    read_totals,
    tables_of_view,
)
from reelport.server.explore.view import View
from reelport.server.settings import Settings

TOTALS, LINES = "totals", "lines"
Part = str | Dimension
"""A part of a view: TOTALS, LINES or the dimension of a leaderboard."""
Outcome = Rows | OverBudget
"""What a part gave: its rows, or why there are none."""

_KEPT = 256
"""Statements whose rows are kept: of a view a few hundred rows each."""
_MOST_ROWS_KEPT = 5_000
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part of a view: its statement, and its outcome where no engine is needed to know it."""

    statement: Statement
    outcome: Outcome | None = None


class ViewEngine:
    """One DuckDB for the views of this process.

    It writes nothing: what exceeds its memory fails instead of being spilled.
    """

    def __init__(self, settings: Settings) -> None:
        threads = settings.explore_threads or count_cores()
        within = (settings.facts_root, settings.files_root, settings.cache_root)
        self._engine = Engine(settings.explore_memory, threads, None, within=within)
        self._settings = settings
        self._cache = RowCache(_KEPT)
        self._row_groups = RowGroupIndex(self._engine)

    def close(self) -> None:
        """Stop what runs, and free the memory."""
        self._engine.close()

    def open_session(self) -> Session:
        """Open a session for one statement."""
        return self._engine.session()

    def plan(self, view: View, tenant: Tenant) -> Mapping[Part, PlannedPart]:
        """Pin the newest tables, and plan the parts of a view.

        The read budget is spent in order: on totals, lines, and leaderboards. What is known costs nothing.
        """
        snapshot = pin(self._settings.facts_root, tables_of_view(view))
        planned: dict[Part, PlannedPart] = {}
        read = 0
        for part, statement in _compile_parts(view, tenant, snapshot):
            outcome: Outcome | None = self._cache.find(statement.plan)
            if outcome is None:
                cost = self._estimate_rows(statement, tenant, snapshot, self._settings.explore_rows - read)
                outcome = self._refuse(read + cost)
                read += 0 if outcome else cost
            planned[part] = PlannedPart(statement, outcome)
        return planned

    def run(self, session: Session, statement: Statement) -> Rows:
        """Run a statement, and keep its rows. Raises what `Session.fetch` does."""
        return self.fetch(session, statement.plan)

    def fetch(self, session: Session, plan: Plan) -> Rows:
        """Fetch the rows of a plan, and keep them where they are few.

        Raises what `Session.fetch` does.
        """
        rows = self._cache.find(plan)
        if rows is None:
            rows = session.fetch(plan, "this page")
            if len(rows) <= _MOST_ROWS_KEPT:
                self._cache.keep(plan, rows)
        return rows

    def read(self, view: View, outcomes: Mapping[Part, Outcome], missing: OverBudget) -> Numbers:
        """Read the numbers of a view. `missing` is the outcome of parts that have none."""
        return _read_numbers(view, {part: outcomes.get(part, missing) for part in _list_parts(view)})

    def _estimate_rows(self, statement: Statement, tenant: Tenant, snapshot: Snapshot, left: int) -> int:
        """Estimate the rows that a statement reads, by row groups if by files they are too many."""
        scans = [scan for query in statement.queries for scan in list_scans(query, tenant, snapshot)]
        rows = sum(scan.rows for scan in scans)
        return rows if rows <= left else self._row_groups.count_rows(scans)

    def _refuse(self, rows: int) -> OverBudget | None:
        most = self._settings.explore_rows
        return (
            None if rows <= most else OverBudget(f"It would read up to {rows:,} rows; a page reads {most:,} at most.")
        )


def _list_parts(view: View) -> tuple[Part, ...]:
    """List the parts of a view in the order in which its budget is spent."""
    return (LINES, *view.dimensions) if is_total_of_lines(view) else (TOTALS, LINES, *view.dimensions)


def _read_numbers(view: View, outcomes: Mapping[Part, Outcome]) -> Numbers:
    """Read the numbers of a view from the outcomes of its parts."""
    if is_total_of_lines(view):
        totals = _read(outcomes[LINES], lambda rows: add_up_lines(view, rows))
    else:
        totals = _read(outcomes[TOTALS], lambda rows: read_totals(view, rows))
    whole = totals if isinstance(totals, Totals) else None
    boards = {
        dimension: _read(outcomes[dimension], lambda rows, by=dimension: read_leaderboard(view, by, rows, whole))  # type: ignore[misc]
        for dimension in view.dimensions
    }
    return Numbers(totals, _read(outcomes[LINES], lambda rows: read_lines(view, rows)), boards)


def _read(outcome: Outcome, read: Callable[[Rows], Value]) -> Value | OverBudget:
    return outcome if isinstance(outcome, OverBudget) else read(outcome)


def _compile_parts(view: View, tenant: Tenant, snapshot: Snapshot) -> Iterator[tuple[Part, Statement]]:
    for part in _list_parts(view):
        match part:
            case Dimension():
                yield part, compile_board(view, part, tenant, snapshot)
            case _:
                compile_part = compile_totals if part == TOTALS else compile_lines
                yield part, compile_part(view, tenant, snapshot)
