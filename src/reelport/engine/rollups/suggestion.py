"""Suggests rollups by what reports asked for: most rows spared for their space.

What reading costs is the rows of the channels that ask, of the facts or of a rollup, as a sample of whole days tells: a
rollup sums up all rows of a day. A greedy choice: of the candidates that fit, the one that spares most a byte, again
and again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from pathlib import Path

from reelport.engine.resolved_query import resolve_query
from reelport.engine.rollups.build import write_sql
from reelport.engine.rollups.choice import Needs, find_needs
from reelport.engine.rollups.columns import select_sums
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError
from reelport.facts.data_files.duckdb_session import Workspace, open_reading_workspace, parquet_source
from reelport.facts.data_files.projection import in_days
from reelport.facts.data_files.rewriting import select_rows
from reelport.facts.defaults import MEMORY
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.rollups import Rollup, list_files_by_day
from reelport.facts.tables import OWNER, TABLES
from reelport.query import ReportQuery
from reelport.sql_quoting import quote_text

_MOST_NEEDS = 12
"""Needs of one table that candidates are made of: those whose reports cost most to read."""
_WORTH = 0.5
"""A report is spared nothing by a rollup of which it reads more than this share of the rows of facts."""
_LEAST_SAVED = 0.01
"""Share of all reading that a rollup must save to be suggested."""
_SAMPLED_DAYS = 5
"""The most days of a table that a sample has."""
_SAMPLED_ROWS = 3_000_000
"""Rows from which on a sample has no further day."""

Asked = Mapping["Reads", "Demand"]
RowsByOwner = Mapping[str | None, int]


@dataclass(frozen=True, slots=True)
class Reads:
    """What a report reads of one table: what a rollup must have, and whose rows (None: all)."""

    needs: Needs
    owners: frozenset[str] | None

    def count(self, rows: RowsByOwner) -> int:
        """Count its rows among those."""
        return sum(rows.values() if self.owners is None else (rows.get(each, 0) for each in self.owners))


@dataclass(frozen=True, slots=True)
class Demand:
    """How many reports read the same, and the rows of facts of their days."""

    reports: int
    rows: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rollup to add.

    `reports` of those asked would be made from it; `saved` is the share that it spares of the rows that all of them
    read; `rows` and `bytes` are what it is estimated to take.
    """

    rollup: Rollup
    reports: int
    saved: float
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Facts:
    """A sample of a table: its file, its rows by owner, and what share of all rows it has."""

    path: str
    share: float
    rows: RowsByOwner


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A rollup, and what it is estimated to take.

    `shares` tells of each report that it spares enough which share of the rows of facts it has to read.
    """

    rollup: Rollup
    rows: int
    bytes: int
    shares: Mapping[Reads, float]


def count_demand(queries: Iterable[tuple[ReportQuery, Tenant]], snapshot: Snapshot) -> Asked:
    """Count what checked queries read that rollups can serve."""
    found: dict[Reads, Demand] = {}
    for query, tenant in queries:
        # Suppressed: a query of another version, with names or combinations that this one doesn't know.
        with suppress(KeyError, InternalError):
            for reads in _list_reads(query, tenant):
                files = snapshot.data_files(reads.needs.table, query.start, query.end)
                before = found.get(reads, Demand(0, 0))
                found[reads] = Demand(before.reports + 1, before.rows + sum(file.rows for file in files))
    return found


def _list_reads(query: ReportQuery, tenant: Tenant) -> Iterator[Reads]:
    for source_query in resolve_query(query, tenant).sources:
        if isinstance(needs := find_needs(source_query), Needs):
            yield Reads(needs, tenant.channels if source_query.owner_only else None)


def suggest_rollups(
    root: Path, asked: Asked, snapshot: Snapshot, known: Iterable[Rollup], *, space: int, memory: str = MEMORY
) -> tuple[Suggestion, ...]:
    """Suggest rollups that together take at most `space` bytes, the most useful first.

    They come beside those known. What they cost is estimated from a sample of days, of which each candidate is built.
    """
    present = tuple(known)
    with open_reading_workspace(root, memory) as work:
        tables = sorted({reads.needs.table for reads in asked})
        facts = {table: found for table in tables if (found := _sample_facts(work, snapshot, table)) is not None}
        costs = {
            reads: _count_own(facts[reads.needs.table], reads) * demand.rows / max(sum(rows.values()), 1)
            for reads, demand in asked.items()
            if reads.needs.table in facts
            for rows in (facts[reads.needs.table].rows,)
        }
        wanted = [rollup for rollup in _list_candidates(costs) if rollup not in present]
        measured = {
            rollup: _measure(work, facts[rollup.table], rollup, costs)
            for rollup in (*present, *wanted)
            if rollup.table in facts
        }
    left = dict.fromkeys(costs, 1.0)
    for rollup in present:
        if rollup in measured:
            _lower(left, measured[rollup])
    candidates, total, chosen = [measured[each] for each in wanted], sum(costs.values()) or 1, []
    while fitting := [each for each in candidates if each.bytes <= space]:
        best = max(fitting, key=lambda each: (_find_saved(each, costs, left) / max(each.bytes, 1), each.rollup.name))
        saved = _find_saved(best, costs, left) / total
        candidates.remove(best)
        if saved >= _LEAST_SAVED:
            served = sum(asked[reads].reports for reads, share in best.shares.items() if share < left[reads])
            chosen.append(Suggestion(best.rollup, served, saved, best.rows, best.bytes))
            _lower(left, best)
            space -= best.bytes
    return tuple(chosen)


def _sample_facts(work: Workspace, snapshot: Snapshot, table: str) -> _Facts | None:
    files, path = snapshot.data_files(table), work.folder / f"{table}.parquet"
    if not list_files_by_day(files):  # no rollup of it is read either
        return None
    days = _choose_days(files)
    chosen = [file for file in files if not days.isdisjoint(file.list_days())]
    where = " OR ".join(in_days(TABLES[table], day, day) for day in sorted(days))
    found = select_rows(TABLES[table], snapshot.paths(table, chosen), where)
    _run(work, f"COPY ({found}) TO {quote_text(str(path))} (FORMAT PARQUET)")
    rows = _count_by_owner(work, str(path))
    return _Facts(str(path), max(sum(rows.values()), 1) / max(sum(file.rows for file in files), 1), rows)


def _choose_days(files: Iterable[DataFile]) -> frozenset[date]:
    """Choose days that lie evenly among all rows: so a day of few rows stands for few."""
    by_day: Counter[date] = Counter()
    for file in files:
        days = file.list_days()
        by_day.update(dict.fromkeys(days, max(file.rows // len(days), 1)))
    count = max(1, min(_SAMPLED_DAYS, _SAMPLED_ROWS * len(by_day) // max(by_day.total(), 1)))
    days, ends = sorted(by_day), list(accumulate(by_day[day] for day in sorted(by_day)))
    places = ((2 * at + 1) * by_day.total() // (2 * count) for at in range(count))
    return frozenset(days[bisect_right(ends, place)] for place in places)


def _count_own(facts: _Facts, reads: Reads) -> int:
    """Count what is read of the sample: all of it where none of the owners has rows there."""
    return reads.count(facts.rows) or sum(facts.rows.values())


def _measure(work: Workspace, facts: _Facts, rollup: Rollup, asked: Iterable[Reads]) -> _Candidate:
    """Build a rollup of the sample, as a build would, and measure it."""
    draft = work.folder / f"{rollup.name}.parquet"
    _run(work, write_sql(rollup, select_sums(rollup, parquet_source([facts.path])), draft))
    rows, size = _count_by_owner(work, str(draft)), draft.stat().st_size
    draft.unlink()
    shares = {
        reads: share
        for reads in asked
        if reads.needs.table == rollup.table and reads.needs.find_lack(rollup) is None
        if (share := _find_share(facts, rows, reads)) <= _WORTH
    }
    return _Candidate(rollup, round(sum(rows.values()) / facts.share), round(size / facts.share), shares)


def _find_share(facts: _Facts, rollup: RowsByOwner, reads: Reads) -> float:
    """Find which share of the rows that are read of facts is read of a rollup."""
    own = reads.count(facts.rows)
    return reads.count(rollup) / own if own else sum(rollup.values()) / max(sum(facts.rows.values()), 1)


def _count_by_owner(work: Workspace, path: str) -> RowsByOwner:
    counted = f"SELECT {OWNER}, COUNT(*) FROM {parquet_source([path])} GROUP BY 1"  # noqa: S608 - a quoted path
    return dict(_run(work, counted))


def _run(work: Workspace, sql: str) -> list[tuple[str | None, int]]:
    return work.run_interruptibly(lambda: work.session.execute(sql).fetchall())


def _list_candidates(costs: Mapping[Reads, float]) -> Iterator[Rollup]:
    by_needs: Counter[Needs] = Counter()
    for reads, cost in costs.items():
        by_needs[reads.needs] += round(cost)
    for table in sorted({needs.table for needs in by_needs}):
        of_table = sorted(
            (needs for needs in by_needs if needs.table == table),
            key=lambda needs: (-by_needs[needs], sorted(needs.columns), needs.grain),
        )
        for needs in of_table[:_MOST_NEEDS]:
            yield Rollup(table, needs.grain, tuple(sorted(needs.columns)))


def _find_saved(candidate: _Candidate, costs: Mapping[Reads, float], left: Mapping[Reads, float]) -> float:
    return sum(costs[reads] * max(left[reads] - share, 0) for reads, share in candidate.shares.items())


def _lower(left: dict[Reads, float], candidate: _Candidate) -> None:
    left.update((reads, min(left[reads], share)) for reads, share in candidate.shares.items())
