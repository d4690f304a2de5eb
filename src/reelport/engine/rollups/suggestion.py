"""Suggests rollups by what reports asked for: most reading saved for their space.

A greedy choice: of the candidates that fit, the one that saves most a byte, again and again, each time by what those
chosen before it leave to save.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from reelport.catalog import Grain
from reelport.engine.mapping import find_sources
from reelport.engine.resolved_query import make_source_query, resolve_query
from reelport.engine.rollups.needs import Needs, find_needs, list_read_columns
from reelport.engine.rollups.reading_cost import FactSample, Reads, Sample, sample_facts, sample_rollup
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError
from reelport.facts.data_files.duckdb_session import Workspace, open_reading_workspace
from reelport.facts.defaults import MEMORY
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.rollups.definition import Rollup
from reelport.query import ReportQuery

_MOST_NEEDS = 12
"""Needs of one table that candidates are made of: those whose reports cost most to read."""
_WORTH = 0.5
"""A report saves nothing by a rollup that costs it more than this share of reading the facts."""
_LEAST_SAVED = 0.01
"""Share of all reading that a rollup must save to be suggested."""

Asked = Mapping[Reads, "Demand"]


@dataclass(frozen=True, slots=True)
class Demand:
    """How many reports read the same, and the rows of facts of their days."""

    reports: int
    rows: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rollup to add.

    `reports` of those asked would be made from it, `saved` is the share that it saves of what all of them cost to read,
    `rows` and `bytes` are what it is estimated to take.
    """

    rollup: Rollup
    reports: int
    saved: float
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A rollup, and what it is estimated to take.

    `shares` tells of each report that it saves something worth it which share of reading the facts it costs.
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
    """List what the sources of a query read, but for those that no rollup can serve."""
    resolved = resolve_query(query, tenant)
    for source in find_sources(resolved.metrics):
        source_query = make_source_query(resolved, source)
        needs = None if source_query is None else find_needs(source_query)
        if source_query is not None and isinstance(needs, Needs):
            owners = tenant.channels if source_query.owner_only else None
            yield Reads(needs, list_read_columns(source_query), owners)


def suggest_rollups(
    root: Path, asked: Asked, snapshot: Snapshot, known: Iterable[Rollup], *, space: int, memory: str = MEMORY
) -> tuple[Suggestion, ...]:
    """Suggest rollups that together take at most `space` bytes, the most useful first.

    They come beside those known. What they cost is estimated from the newest file, of which each candidate is built.
    """
    present = tuple(known)
    with open_reading_workspace(root, memory) as work:
        tables = sorted({reads.needs.table for reads in asked})
        sampled = (sample_facts(work, snapshot, table) for table in tables)
        facts = {each.table: each for each in sampled if each is not None}
        costs = {
            reads: _find_cost(facts[reads.needs.table], reads, demand)
            for reads, demand in asked.items()
            if reads.needs.table in facts
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
    reports = {reads: asked[reads].reports for reads in costs}
    return tuple(_choose([measured[each] for each in wanted], costs, reports, left, space))


def _measure(work: Workspace, facts: FactSample, rollup: Rollup, asked: Iterable[Reads]) -> _Candidate:
    sample = sample_rollup(work, facts, rollup)
    shares = {
        reads: share
        for reads in asked
        if reads.needs.table == rollup.table and reads.needs.find_lack(rollup) is None
        if (share := _find_share(facts.sample, sample, reads)) <= _WORTH
    }
    return _Candidate(rollup, round(sample.rows / facts.share), round(sample.bytes / facts.share), shares)


def _find_share(facts: Sample, rollup: Sample, reads: Reads) -> float:
    """Find which share of what the facts cost to read the rollup costs."""
    if not facts.cost(reads):  # none of the owners has rows in the sample: then by all of it
        reads = replace(reads, owners=None)
    return rollup.cost(reads) / max(facts.cost(reads), 1)


def _find_cost(facts: FactSample, reads: Reads, demand: Demand) -> float:
    """Find what all reports that read this cost from the facts.

    It is what the sample costs, for as many rows as their days have.
    """
    return facts.sample.cost(reads) * demand.rows / max(facts.sample.rows, 1)


def _list_candidates(costs: Mapping[Reads, float]) -> Iterator[Rollup]:
    """List a rollup for each of the greatest needs, and one for each two of them together."""
    by_needs: Counter[Needs] = Counter()
    for reads, cost in costs.items():
        by_needs[reads.needs] += round(cost)
    for table in sorted({needs.table for needs in by_needs}):
        of_table = sorted(
            (needs for needs in by_needs if needs.table == table),
            key=lambda needs: (-by_needs[needs], sorted(needs.columns), needs.grain),
        )[:_MOST_NEEDS]
        pairs = [(one, one) for one in of_table] + list(combinations(of_table, 2))
        yield from dict.fromkeys(
            Rollup(table, min(one.grain, other.grain, Grain.DAY), tuple(sorted(one.columns | other.columns)))
            for one, other in pairs
        )


def _choose(
    candidates: list[_Candidate],
    costs: Mapping[Reads, float],
    reports: Mapping[Reads, int],
    left: dict[Reads, float],
    space: int,
) -> Iterator[Suggestion]:
    total = sum(costs.values()) or 1
    while fitting := [each for each in candidates if each.bytes <= space]:
        best = max(fitting, key=lambda each: (_find_saved(each, costs, left) / max(each.bytes, 1), each.rollup.name))
        saved = _find_saved(best, costs, left) / total
        candidates.remove(best)
        if saved < _LEAST_SAVED:
            continue
        served = sum(reports[reads] for reads, share in best.shares.items() if share < left[reads])
        yield Suggestion(best.rollup, served, saved, best.rows, best.bytes)
        _lower(left, best)
        space -= best.bytes


def _find_saved(candidate: _Candidate, costs: Mapping[Reads, float], left: Mapping[Reads, float]) -> float:
    """What the candidate saves, beyond what is saved already."""
    return sum(costs[reads] * max(left[reads] - share, 0) for reads, share in candidate.shares.items())


def _lower(left: dict[Reads, float], candidate: _Candidate) -> None:
    """Lower the shares of what reports cost to read, as they do with this rollup."""
    left.update((reads, min(left[reads], share)) for reads, share in candidate.shares.items())
