"""The explorer's engine: plans, compiles and runs the parts of a view within its budget.

Each part wraps the compiled SQL of a report, so that its numbers are cells of that report. Parts that read the same
rows are one statement, which scans these once. Rows of parts are kept: the same SQL over the same immutable files gives
the same. Importing this module loads DuckDB: a process does so at its first view.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import structlog

from reelport.catalog import Dimension, Grain, Metric
from reelport.catalog.labels import find_cells
from reelport.charts.time_axis import next_time, parse_time
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import compile_query, tables_of
from reelport.engine.duckdb.engine import QueryEngine, Session
from reelport.engine.first_days import WINDOWS, compile_births, compile_first_days, plan_first_days
from reelport.engine.leaderboards import ENTRIES, MORE_ENTRIES, Ranking, compile_leaderboard
from reelport.engine.mapping import title_tables
from reelport.engine.plan import Plan, join_selects
from reelport.engine.report_size import ReportSize, RowGroupIndex, estimate_size
from reelport.engine.resolved_query import Refinement
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError, OutOfMemory, StorageError, StoreUnavailable
from reelport.facts.log.role_copies import ROLES
from reelport.facts.log.snapshot import ABSENT, Snapshot, pin
from reelport.facts.log.table_identity import identify_tables
from reelport.facts.tables import VIDEOS
from reelport.language import _, localize
from reelport.query import ReportQuery
from reelport.server.explore.numbers import (
    TOO_LARGE,
    Entry,
    Figure,
    FirstDays,
    Leaderboard,
    Lines,
    Number,
    Numbers,
    OverBudget,
    Point,
    Totals,
    Window,
    explain_missing_share,
)
from reelport.server.explore.view import Sort, View
from reelport.server.resources import count_cores
from reelport.server.settings import Settings
from reelport.storage.digests import CHECKED_BYTES, DigestCheck

Rows = Sequence[tuple[Any, ...]]
Outcome = Rows | OverBudget  # what a part gave: its rows, or why there are none
_KEPT_STATEMENTS = 256  # parts whose rows are kept: a few hundred rows each
_MOST_ROWS_KEPT = 5_000
_log = structlog.get_logger()
Value = TypeVar("Value")
TOTALS, LINES, PICKED = "totals", "lines", "picked"
Part = str | Dimension  # a part of a view: TOTALS, LINES, the dimension of a leaderboard, or PICKED
Compile = Callable[[Snapshot, Aggregator], Plan]
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, as the hours of a report are parsed


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """The statement of a part, and the aggregator that chose what it reads of a snapshot.

    `plan_from_facts` plans the part without rollups and copies by role. The part is counted in its budget with `rows`;
    `outcome` is what is known already.
    """

    plan: Plan
    snapshot: Snapshot
    aggregator: RollupAggregator
    budget: _ReadBudget
    plan_from_facts: Callable[[], PlannedPart]
    rows: int = 0
    outcome: Outcome | None = None


class ViewEngine:
    """One DuckDB for the views of this process. What exceeds its memory fails, unspilled."""

    def __init__(self, settings: Settings, threads: int = 0) -> None:
        within = (settings.facts_root, settings.files_root, settings.cache_root)
        self._engine = QueryEngine(settings.explore_memory, threads or count_cores(), None, within=within)
        self._settings = settings
        self._cache = _RowCache()
        self._row_groups = RowGroupIndex(self._engine)

    def close(self) -> None:
        """Stop what runs, and free the memory."""
        self._engine.close()

    def open_session(self) -> Session:
        """Open a session for one statement."""
        return self._engine.session()

    def plan(self, view: View, tenant: Tenant, share: int = 1) -> Mapping[Part, PlannedPart]:
        """Pin the newest tables, and plan the parts of a view.

        The read budget, of which it has one of so many shares, is spent in order: on totals, lines, and leaderboards.
        What is known costs nothing.
        """
        listed = view.list_picked()
        titles = (table for each in (*view.dimensions, view.picked) if each for table in title_tables(each))
        tables = tables_of(view.report_query()) | (tables_of(listed.report_query()) if listed else frozenset())
        snapshot = self._pin(tables | frozenset(titles))
        rollups, budget = self._list_rollups(), _ReadBudget(self._settings.explore_rows // share)
        given = view, tenant, bool(self._settings.picture_hosts)
        return {
            part: self._plan_part(partial(_compile_part, part, *given), snapshot, rollups, budget)
            for part in _list_parts(view)
        }

    def compute_first_days(
        self,
        session: Session,
        video: str,
        dimension: Dimension,
        metrics: tuple[Metric, ...],
        tenant: Tenant,
        complete: tuple[date, date],
    ) -> FirstDays | OverBudget | None:
        """Compute a video's first hours and days beside those of its channel's last ones.

        None for a video of which the tenant knows no upload. `metrics` add up, `complete` are the first and last
        complete day. Raises what `Session.fetch` does.
        """
        snapshot = self._pin({VIDEOS.name, *tables_of(ReportQuery.of(metrics, (dimension,), *complete))})
        found = self.fetch(session, compile_births(video, tenant, snapshot, *complete))
        births = {name: _EPOCH + timedelta(microseconds=born) for _, name, _, born in found}
        if video not in births:
            return None
        hours = {name: born.replace(minute=0, second=0, microsecond=0) for name, born in births.items()}
        peers = {window: [name for each, name, *_ in found if each == window] for window in WINDOWS}
        is_told = births[video].date() >= complete[0]
        asked = hours if is_told else {name: hour for name, hour in hours.items() if name != video}
        end = datetime.combine(complete[1] + timedelta(1), datetime.min.time())
        sums: Outcome = []
        if asked:
            query, narrowed = plan_first_days(asked, metrics, dimension, complete[1])

            def compile_part(snapshot: Snapshot, aggregator: Aggregator) -> Plan:
                return compile_first_days(asked, query, narrowed, tenant, snapshot, aggregator)

            budget = _ReadBudget(self._settings.explore_rows)
            planned = self._plan_part(compile_part, snapshot, self._list_rollups(), budget)
            sums = planned.outcome if planned.outcome is not None else self._run_alone(session, planned)
        if isinstance(sums, OverBudget):
            return sums
        width = len(metrics)
        values = {
            (name, window): tuple(value or 0 for value in row[place * width : (place + 1) * width])
            for name, *row in sums
            for place, window in enumerate(WINDOWS)
        }
        windows = (
            Window(
                window,
                values[video, window] if is_told and births[video] + timedelta(hours=window) <= end else None,
                tuple(map(_find_median, zip(*(values[name, window] for name in peers[window]), strict=True))) or None,
                len(peers[window]),
            )
            for window in WINDOWS
        )
        return FirstDays(births[video], tuple(windows))

    def estimate(self, session: Session, query: ReportQuery, tenant: Tenant) -> ReportSize | None:
        """Estimate how large the report of a checked query is; raise what `Session.fetch` does."""
        return estimate_size(session, query, tenant, self._pin(tables_of(query)))

    def _pin(self, tables: Iterable[str]) -> Snapshot:
        root = self._settings.facts_root
        snapshot = pin(root, tables)
        if ABSENT in snapshot.versions.values():
            identify_tables(self._settings.data, root)
        return snapshot

    def _list_rollups(self) -> RollupList:
        return RollupList() if self._settings.rollups == "off" else RollupList.read(self._settings.facts_root)

    def _plan_part(
        self, compile_part: Compile, snapshot: Snapshot, rollups: RollupList, budget: _ReadBudget
    ) -> PlannedPart:
        aggregator = RollupAggregator(rollups, shares_scans=True)
        plan = compile_part(snapshot, aggregator)
        plan_from_facts = partial(self._plan_part, compile_part, snapshot.without_copies(), RollupList(), budget)
        planned = PlannedPart(plan, snapshot, aggregator, budget, plan_from_facts)
        if (known := self._cache.find(planned.plan)) is not None:
            return replace(planned, outcome=known)
        rows = self._count_rows(planned, budget.left)
        return replace(planned, rows=rows, outcome=budget.spend(rows))

    @staticmethod
    def group(planned: Mapping[Part, PlannedPart]) -> Iterable[Mapping[Part, PlannedPart]]:
        """Group the parts without an outcome that read the same rows: each group is one statement.

        Dimensions with many values for a video take much longer than others, which don't wait for them.
        """
        groups: dict[str, dict[Part, PlannedPart]] = {}
        for part, each in planned.items():
            if each.outcome is None:
                is_slow = isinstance(part, Dimension) and part.many_valued
                first = next(iter(each.aggregator.scans), str(part))  # that of the view's own days
                groups.setdefault(str(part) if is_slow else first, {})[part] = each
        return groups.values()

    def run(self, session: Session, planned: Mapping[Part, PlannedPart]) -> Mapping[Part, Outcome]:
        """Run parts as one statement, and keep their rows. Where that fails, each is run by itself.

        Where a rollup or a copy by role fails a part, it is computed from the facts themselves, if the budget that it
        shares with the other parts allows that. Raises what `Session.fetch` does, but for memory.
        """
        if len(planned) > 1:
            with suppress(StorageError, InternalError):  # the part that failed says why, when it is run by itself
                rows = self._fetch_intact(session, list(planned.values()))
                return dict(zip(planned, rows, strict=True))
        return {part: self._run_alone(session, each) for part, each in planned.items()}

    def _run_alone(self, session: Session, planned: PlannedPart) -> Outcome:
        try:
            return self._fetch_intact(session, [planned])[0]
        except OutOfMemory:
            return OverBudget(_(TOO_LARGE))
        except (StorageError, InternalError) as error:
            choices = planned.aggregator.choices
            reads_copies = any(each.reading is None and each.source_query.only_role in ROLES for each in choices)
            if isinstance(error, StoreUnavailable) or not (planned.aggregator.was_used or reads_copies):
                raise
            _log.warning("a view is computed from the facts: a kept file can't be read", reason=str(error))
        planned.budget.give_back(planned.rows)
        plain = planned.plan_from_facts()
        return plain.outcome if plain.outcome is not None else self._fetch_intact(session, [plain])[0]

    def fetch(self, session: Session, plan: Plan) -> Rows:
        """Fetch the rows of a plan, and keep few ones; raise what `Session.fetch` does."""
        rows = self._cache.find(plan)
        if rows is None:
            rows = session.fetch(plan, "this page")
            self._cache.keep(plan, rows)
        return rows

    def read(self, view: View, outcomes: Mapping[Part, Outcome], missing: OverBudget) -> Numbers:
        """Read the numbers of a view. `missing` is the outcome of parts that have none."""
        outcomes = {part: outcomes.get(part, missing) for part in _list_parts(view)}
        if is_total_of_lines(view):
            totals = _read(outcomes[LINES], lambda rows: add_up_lines(view, rows))
        else:
            totals = _read(outcomes[TOTALS], lambda rows: read_totals(view, rows))
        whole = None if isinstance(totals, OverBudget) else totals
        boards = {
            each: _read(outcomes[each], partial(read_leaderboard, view, each, totals=whole)) for each in view.dimensions
        }
        lines = _read(outcomes[LINES], partial(read_lines, view))
        listed, picked = view.list_picked(), None
        if listed is not None:
            picked = _read(outcomes[PICKED], partial(read_leaderboard, listed, listed.dimensions[0], totals=None))
        return Numbers(totals, lines, boards, picked)

    def _fetch_intact(self, session: Session, parts: Sequence[PlannedPart]) -> list[Rows]:
        """Fetch the rows of parts, unless a rollup that they read is not as it was written."""
        for part in parts:
            part.aggregator.require_intact(DigestCheck(CHECKED_BYTES))
        scans = {name: sql for part in parts for name, sql in part.aggregator.scans.items()}
        joined = join_selects([part.plan.sql for part in parts], scans)
        (lists,) = session.fetch(joined, "this page")
        found: list[Rows] = [[tuple(row.values()) for row in rows or ()] for rows in lists]
        for part, rows in zip(parts, found, strict=True):
            self._cache.keep(part.plan, rows)
        return found

    def _count_rows(self, part: PlannedPart, left: int) -> int:
        """Count the rows that a part reads at most, by row groups if by files they are too many."""
        choices, count = part.aggregator.choices, self._row_groups.count_rows
        rows = sum(each.rows for each in choices)
        if rows <= left:
            return rows
        return sum(each.rows if each.reading else count(each.source_query, part.snapshot) for each in choices)


def _list_parts(view: View) -> tuple[Part, ...]:
    totals = () if is_total_of_lines(view) else (TOTALS,)
    return (*totals, LINES, *view.dimensions, *((PICKED,) if view.picked else ()))


def _read(outcome: Outcome, read: Callable[[Rows], Value]) -> Value | OverBudget:
    return outcome if isinstance(outcome, OverBudget) else read(outcome)


def _compile_part(
    part: Part, view: View, tenant: Tenant, with_pictures: bool, snapshot: Snapshot, aggregator: Aggregator
) -> Plan:
    if isinstance(part, Dimension):
        return compile_board(view, part, tenant, snapshot, aggregator, with_pictures=with_pictures)
    if part == PICKED and (listed := view.list_picked()):
        return compile_board(listed, listed.dimensions[0], tenant, snapshot, aggregator, search=view.search)
    return (compile_totals if part == TOTALS else compile_lines)(view, tenant, snapshot, aggregator)


def _find_median(values: tuple[Number, ...]) -> Number:
    ranked = sorted(value or 0 for value in values)
    low, high = ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2]
    return low if low == high else Decimal(low + high) / 2


class _ReadBudget:
    """The rows that parts of one view may read together. Any thread may use it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._read = 0
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        with self._lock:
            return self._most - self._read

    def give_back(self, rows: int) -> None:
        """Take back the rows of a part that is planned anew."""
        with self._lock:
            self._read -= rows

    def spend(self, rows: int) -> OverBudget | None:
        """Count the rows of a part; say so when they don't fit."""
        with self._lock:
            read = self._read + rows
            if read <= self._most:
                self._read = read
                return None
        return OverBudget(
            _(
                "It would read up to %(rows)s rows; a page reads %(most)s at most.",
                rows=localize(f"{read:,}"),
                most=localize(f"{self._most:,}"),
            )
        )


class _RowCache:
    """The rows of the statements that were used last. Any thread may use it."""

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, Rows] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, plan: Plan) -> Rows | None:
        key = _hash(plan)
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def keep(self, plan: Plan, rows: Rows) -> None:
        """Keep the rows of a plan unless they are many; forget those unused for longest."""
        if len(rows) > _MOST_ROWS_KEPT:
            return
        with self._lock:
            self._rows[_hash(plan)] = rows
            while len(self._rows) > _KEPT_STATEMENTS:
                self._rows.popitem(last=False)


def _hash(plan: Plan) -> bytes:
    return hashlib.sha256(plan.sql.encode("utf-8", "surrogatepass")).digest()


def compile_totals(view: View, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator = DUCKDB) -> Plan:
    """Compile the totals: a row of the view's days and one of the compared days."""
    return _stack(_queries(view, ()), Refinement(view.kept), tenant, snapshot, aggregator)


def compile_lines(view: View, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator = DUCKDB) -> Plan:
    """Compile the lines: a row for each time with facts, of the view's and the compared days."""
    queries = _queries(view, (view.time,))
    queries = queries if view.compares_lines else queries[:1]
    refinement = Refinement(view.kept, by_week=view.grain is Grain.WEEK)
    return _stack(queries, refinement, tenant, snapshot, aggregator)


def compile_board(
    view: View,
    dimension: Dimension,
    tenant: Tenant,
    snapshot: Snapshot,
    aggregator: Aggregator = DUCKDB,
    *,
    with_pictures: bool = False,
    search: str = "",
) -> Plan:
    """Compile the leaderboard of a dimension, of all rows or of those that `search` finds."""
    most = MORE_ENTRIES if view.longer is dimension else ENTRIES
    ranking = Ranking(
        view.ranked_by,
        None if view.is_whole else most,
        by_change=view.sort is Sort.CHANGE,
        lowest_first=view.reverse,
        with_pictures=with_pictures,
        search=search,
        labelled=find_cells(dimension, search),
    )
    query, narrowed = view.query((dimension,)), Refinement(view.kept)
    return compile_leaderboard(query, view.compared_days, ranking, tenant, snapshot, aggregator, narrowed)


def _queries(view: View, dimensions: tuple[Dimension, ...]) -> tuple[ReportQuery, ...]:
    compared = view.compared_days
    return (view.query(dimensions), *([view.query(dimensions, compared)] if compared else []))


def _stack(
    queries: tuple[ReportQuery, ...], refinement: Refinement, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator
) -> Plan:
    selects = (
        compile_query(query, tenant, snapshot, aggregator, ordered=False, refinement=refinement).sql
        for query in queries
    )
    sql = "\nUNION ALL\n".join(f"SELECT {side}, * FROM ({select})" for side, select in enumerate(selects))  # noqa: S608 - SQL that was compiled
    return Plan(sql, ())


def read_totals(view: View, rows: Rows) -> Totals:
    """Read the rows of `compile_totals`."""
    sides = {row[0]: row[1:] for row in rows}
    return tuple(_pair(view.metrics, sides.get(0), sides.get(1)))


def is_total_of_lines(view: View) -> bool:
    """Whether the lines add up to the totals, so that no statement is needed for these."""
    return all(metric.additive for metric in view.metrics) and (view.compares_lines or view.compared_days is None)


def add_up_lines(view: View, rows: Rows) -> Totals:
    """Add the rows of `compile_lines` up to the totals, where `is_total_of_lines` says so."""
    sides: dict[int, list[tuple[Number, ...]]] = {}
    for side, _place, *values in rows:
        sides.setdefault(side, []).append(tuple(values))
    sums = {
        side: [sum(value or 0 for value in column) for column in zip(*found, strict=True)]
        for side, found in sides.items()
    }
    return tuple(_pair(view.metrics, sums.get(0), sums.get(1)))


def read_lines(view: View, rows: Rows) -> Lines:
    """Read the rows of `compile_lines`."""
    sides: dict[int, dict[date, tuple[Number, ...]]] = {0: {}, 1: {}}
    for side, time, *values in rows:
        sides[side][_read_time(time)] = tuple(values)
    return tuple(
        Point(time, tuple(_pair(view.metrics, sides[0].get(time), sides[1].get(view.compared_time(time)))))
        for time in _list_times(view)
    )


def _read_time(time: date | str) -> date:
    """Read a report's cell of time.

    An hour is a datetime in UTC without a zone, a month its first day.
    """
    if isinstance(time, date):
        return time
    moment = parse_time(time)
    if moment is None:
        raise InternalError(f"{time!r} is no time of a report")
    return moment if "T" in time else moment.date()


def read_leaderboard(view: View, dimension: Dimension, rows: Rows, totals: Totals | None) -> Leaderboard:
    """Read the rows of `compile_board`. Without the totals there are no shares and no rest."""
    reasons = {
        metric: reason for metric in view.metrics if (reason := explain_missing_share(metric, dimension)) is not None
    }
    wholes = tuple(
        None if totals is None or metric in reasons else totals[place].value
        for place, metric in enumerate(view.metrics)
    )
    entries = []
    for cell, title, picture, _count, compared, is_shown, *values in rows:
        now, before = values[: len(view.metrics)], values[len(view.metrics) :]
        figures = tuple(_pair(view.metrics, now, before if compared else None))
        shares = tuple(
            None if not whole or whole < 0 else Decimal(value or 0) / Decimal(whole)
            for value, whole in zip(now, wholes, strict=True)
        )
        entries.append(Entry(cell, title, figures, shares, is_shown, picture))
    shown = [entry for entry in entries if entry.is_shown]
    rest = tuple(
        None if whole is None else whole - sum(entry.figures[place].value or 0 for entry in shown)
        for place, whole in enumerate(wholes)
    )
    count, compared = rows[0][3:5] if rows else (0, 0)
    return Leaderboard(dimension, tuple(entries), count, compared, rest, reasons)


def _pair(metrics: Iterable[Metric], now: Sequence[Number] | None, before: Sequence[Number] | None) -> Iterator[Figure]:
    """Pair the numbers of two rows. A row that is None isn't there, and gives no number."""
    for place, metric in enumerate(metrics):
        yield Figure(*(None if row is None else _fill(metric, row[place]) for row in (now, before)))


def _fill(metric: Metric, value: Number) -> Number:
    return 0 if value is None and metric.additive else value


def _list_times(view: View) -> Iterator[date]:
    firsts = {Grain.WEEK: view.start - timedelta(view.start.weekday()), Grain.MONTH: view.start.replace(day=1)}
    moment = datetime.combine(firsts.get(view.grain, view.start), datetime.min.time())
    while moment.date() <= view.end:
        yield moment if view.grain is Grain.HOUR else moment.date()
        moment = next_time(moment, view.grain)
