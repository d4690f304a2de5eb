"""Says in words which rollups a report uses, and why each other one is refused."""

from __future__ import annotations

from collections.abc import Iterable

from reelport.engine.aggregation import plan_aggregation
from reelport.engine.resolved_query import resolve_query
from reelport.engine.rollups.choice import Choice, RollupList, choose
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.schema import OWNER
from reelport.query import ReportQuery
from reelport.storage.file_store import FetchPlan
from reelport.wording import format_count, format_size


def explain(query: ReportQuery, tenant: Tenant, snapshot: Snapshot, rollups: RollupList) -> tuple[Choice, ...]:
    """Choose what a report of a checked query would read, in one piece, by source."""
    aggregation = plan_aggregation(resolve_query(query, tenant))
    return tuple(choose(source_query, snapshot, rollups) for source_query in aggregation.sources)


def describe_use(choice: Choice) -> str:
    """Say what a source is read from: `plays-day-3fa91c: 28 of 30 days, 12 of 500 rows`."""
    if choice.reading is None:
        return f"the facts: {format_count(choice.fact_rows, 'row')}"
    reading = choice.reading
    days = f"{len(reading.days):,} of {format_count(len(reading.all_days), 'day')}"
    return f"{reading.rollup.name}: {days}, {reading.rows:,} of {format_count(choice.fact_rows, 'row')}"


def plan_fetches(query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> dict[str, FetchPlan]:
    """Plan what a report made from the facts would fetch from an object store, by source."""
    plans = {}
    for source_query in plan_aggregation(resolve_query(query, tenant)).sources:
        source, role = source_query.source, source_query.only_role
        channels = tenant.channels if role else None
        plan = snapshot.plan_fetch(source.table, query.start, query.end, channels, role or OWNER)
        if plan is not None:
            plans[source.name] = plan
    return plans


def describe_fetch(plan: FetchPlan) -> str:
    """Say what would be fetched: `1 of 3 files, 4.2 MB of 90.1 MB`."""
    size = f"{format_size(plan.missing_bytes)} of {format_size(plan.bytes)}"
    return f"{plan.missing_files:,} of {format_count(plan.files, 'file')}, {size}"


def summarize_uses(choices: Iterable[Choice]) -> list[str]:
    """Say what the pieces of a report used: of each rollup, how many of the days."""
    read: dict[str, int] = {}
    all_days: dict[str, int] = {}
    for choice in choices:
        if choice.reading is not None:
            name = f"{choice.source} from {choice.reading.rollup.name}"
            read[name] = read.get(name, 0) + len(choice.reading.days)
            all_days[name] = all_days.get(name, 0) + len(choice.reading.all_days)
    return [f"{name}: {days:,} of {format_count(all_days[name], 'day')}" for name, days in read.items()]


def summarize_refusals(choices: Iterable[Choice]) -> list[str]:
    """Say why rollups were refused, each reason once."""
    found = (f"{choice.source} not from {name}: {why}" for choice in choices for name, why in choice.refused.items())
    return list(dict.fromkeys(found))
