"""Suggests rollups by what reports asked for: most rows saved for the space that they take.

A greedy choice: of the candidates that fit, the one that saves most rows a byte, again and again, each time by what
those chosen before it leave to save.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from reelport.catalog import Grain
from reelport.engine.mapping import find_sources
from reelport.engine.resolved_query import make_source_query, resolve_query
from reelport.engine.rollups.needs import Needs, find_needs
from reelport.engine.rollups.shape import select_sums
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError
from reelport.facts.data_files.duckdb_session import Workspace, open_reading_workspace, parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.defaults import MEMORY
from reelport.facts.log.delta_log import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.rollups.definition import Rollup
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

_MOST_NEEDS = 12
"""Needs of one table that candidates are made of: those whose reports read most rows."""
_WORTH = 0.5
"""A rollup with more rows than this share of the facts' is no candidate."""

Asked = Mapping[Needs, "Demand"]


@dataclass(frozen=True, slots=True)
class Demand:
    """How many reports have the same needs, and the rows of facts that they read."""

    reports: int
    rows: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rollup to add.

    `reports` of those asked could be made from it, `saved` is the share of all rows of facts read that it saves them,
    `rows` and `bytes` are what it is estimated to take.
    """

    rollup: Rollup
    reports: int
    saved: float
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A rollup, with its rows as a share of the facts' and its bytes, both estimated."""

    rollup: Rollup
    share: float
    rows: int
    bytes: int

    def serves(self, needs: Needs) -> bool:
        return needs.table == self.rollup.table and needs.find_lack(self.rollup) is None


def count_demand(queries: Iterable[tuple[ReportQuery, Tenant]], snapshot: Snapshot) -> Asked:
    """Count what checked queries need of rollups, as far as any can serve them."""
    found: dict[Needs, Demand] = {}
    for query, tenant in queries:
        # Suppressed: a query of another version, with names or combinations that this one doesn't know.
        with suppress(KeyError, InternalError):
            for needs in _list_needs(query, tenant):
                files = snapshot.data_files(needs.table, query.start, query.end)
                before = found.get(needs, Demand(0, 0))
                found[needs] = Demand(before.reports + 1, before.rows + sum(file.rows for file in files))
    return found


def _list_needs(query: ReportQuery, tenant: Tenant) -> Iterator[Needs]:
    """List what the sources of a query need of rollups, but for those that none can serve."""
    resolved = resolve_query(query, tenant)
    found = (make_source_query(resolved, source) for source in find_sources(resolved.metrics))
    for needs in (find_needs(source_query) for source_query in found if source_query is not None):
        if isinstance(needs, Needs):
            yield needs


def suggest_rollups(
    root: Path, asked: Asked, snapshot: Snapshot, known: Iterable[Rollup], *, space: int, memory: str = MEMORY
) -> tuple[Suggestion, ...]:
    """Suggest rollups that together take at most `space` bytes, the most useful first.

    They come beside those known. Sizes are estimated from the newest file, which is grouped for each candidate.
    """
    present, wanted = tuple(known), tuple(_list_candidates(asked))
    measured = {each.rollup: each for each in _measure(root, {*present, *wanted}, snapshot, memory)}
    left = dict.fromkeys(asked, 1.0)
    for rollup in present:
        if rollup in measured:
            _lower(left, measured[rollup])
    candidates = [measured[each] for each in wanted if each in measured and each not in present]
    return tuple(_choose([each for each in candidates if each.share <= _WORTH], asked, left, space))


def _list_candidates(asked: Asked) -> Iterator[Rollup]:
    """List a rollup for each of the greatest needs, and one for each two of them together."""
    for table in sorted({needs.table for needs in asked}):
        of_table = sorted(
            (needs for needs in asked if needs.table == table),
            key=lambda needs: (-asked[needs].rows, sorted(needs.columns), needs.grain),
        )[:_MOST_NEEDS]
        pairs = [(one, one) for one in of_table] + list(combinations(of_table, 2))
        yield from dict.fromkeys(
            Rollup(table, min(one.grain, other.grain, Grain.DAY), tuple(sorted(one.columns | other.columns)))
            for one, other in pairs
        )


def _measure(root: Path, rollups: Iterable[Rollup], snapshot: Snapshot, memory: str) -> Iterator[_Candidate]:
    """Estimate each rollup from the newest file of its table; tables without facts have none."""
    with open_reading_workspace(root, memory) as work:
        for rollup in sorted(rollups, key=lambda rollup: rollup.name):
            files = snapshot.data_files(rollup.table)
            if not files:
                continue
            path, rows = _choose_sample(files, snapshot, rollup.table)
            facts = f"({project_sql(TABLES[rollup.table], parquet_source([path]))})"
            counting = f"SELECT COUNT(*) FROM ({select_sums(rollup, facts)})"  # noqa: S608 - our tables' own names
            share = _fetch_number(work, counting) / rows
            total, size = sum(file.rows for file in files), sum(file.size for file in files)
            # A row of a rollup has fewer columns than one of facts: so it takes less.
            yield _Candidate(rollup, share, round(share * total), round(share * size))


def _fetch_number(work: Workspace, sql: str) -> int:
    return int(work.run_interruptibly(lambda: work.session.execute(sql).fetchall())[0][0])


def _choose_sample(files: tuple[DataFile, ...], snapshot: Snapshot, table: str) -> tuple[str, int]:
    """Choose the newest of the files, as a path and its rows."""
    paths = dict(zip(files, snapshot.files(table), strict=True))
    newest = max(files, key=lambda file: (file.last_day, file.rows, file.path))
    return paths[newest], max(newest.rows, 1)


def _choose(candidates: list[_Candidate], asked: Asked, left: dict[Needs, float], space: int) -> Iterator[Suggestion]:
    total = sum(demand.rows for demand in asked.values()) or 1
    while fitting := [each for each in candidates if each.bytes <= space]:
        best = max(fitting, key=lambda each: (_count_saved(each, asked, left) / max(each.bytes, 1), each.rollup.name))
        saved = _count_saved(best, asked, left)
        if not saved:
            return
        reports = sum(asked[needs].reports for needs in asked if best.serves(needs) and best.share < left[needs])
        yield Suggestion(best.rollup, reports, saved / total, best.rows, best.bytes)
        _lower(left, best)
        candidates.remove(best)
        space -= best.bytes


def _count_saved(candidate: _Candidate, asked: Asked, left: Mapping[Needs, float]) -> float:
    """Count the rows that the candidate saves, beyond what is saved already."""
    found = (needs for needs in asked if candidate.serves(needs))
    return sum(asked[needs].rows * max(left[needs] - candidate.share, 0) for needs in found)


def _lower(left: dict[Needs, float], candidate: _Candidate) -> None:
    """Lower the shares of rows that reports read, as they do with this rollup."""
    left.update((needs, min(share, candidate.share)) for needs, share in left.items() if candidate.serves(needs))
