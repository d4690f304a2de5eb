"""SQL of first hours and days of videos: it wraps a report's SQL, and sums its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from reelport.catalog import Dimension, Grain, Metric
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import compile_query
from reelport.engine.plan import Plan
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import Refinement
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import OWNER, VIDEOS
from reelport.query import ReportQuery
from reelport.sql_quoting import quote_name, quote_text

WINDOWS = (24, 7 * 24, 28 * 24)
"""Hours of each window."""
PEERS = 10
"""Videos of the channel that a video is compared with, the last that are as old as the window."""
_HOUR = next(row for row in Dimension if row.grain is Grain.HOUR)


def compile_births(video: str, tenant: Tenant, snapshot: Snapshot, first: date, complete: date) -> Plan:
    """Compile when a video of the tenant's was uploaded, and its peers of each window.

    Peers have complete data of their whole window: `first` and `complete` are the first and last complete day. The
    columns are: the window's hours (0 for the video itself), id, title, microseconds since 1970. Without rows the video
    is unknown, another tenant's, or of an unknown day.
    """
    born, key = quote_name(VIDEOS.born or ""), quote_name(VIDEOS.key or "")
    channels = ", ".join(map(quote_text, sorted(tenant.channels))) or "NULL"
    relation = Relations(snapshot).objects(VIDEOS.name)
    columns = f"{key}, title, EPOCH_US({born})"
    peers = (
        f"""
        (
            SELECT {hours}, {columns} FROM videos
            WHERE {OWNER} = (SELECT {OWNER} FROM own) AND {key} <> {quote_text(video)}
                AND {born} >= TIMESTAMPTZ '{first} 00:00:00+00:00'
                AND {born} + INTERVAL {hours} HOUR <= TIMESTAMPTZ '{complete + timedelta(1)} 00:00:00+00:00'
            ORDER BY {born} DESC, {key}
            LIMIT {PEERS}
        )
        """  # noqa: S608 - names of tables, numbers and quoted texts
        for hours in WINDOWS
    )
    own = f"SELECT * FROM videos WHERE {key} = {quote_text(video)} AND {OWNER} IN ({channels}) AND {born} IS NOT NULL"  # noqa: S608 - as above
    parts = " UNION ALL ".join((f"SELECT 0, {columns} FROM own", *peers))  # noqa: S608 - as above
    return Plan(f"WITH videos AS (SELECT * FROM {relation}), own AS ({own}) {parts}", ())  # noqa: S608 - as above


def plan_first_days(
    births: Mapping[str, datetime], metrics: Sequence[Metric], dimension: Dimension, complete: date
) -> tuple[ReportQuery, Refinement]:
    """Plan the report whose cells the windows add up, and the videos that it is narrowed to."""
    last = max(births.values()) + timedelta(hours=max(WINDOWS))
    days = min(births.values()).date(), min(last.date(), complete)
    query = ReportQuery.of(metrics, (_HOUR, dimension), *days)
    return query, Refinement(tuple((dimension, video) for video in births))


def compile_first_days(
    births: Mapping[str, datetime],
    query: ReportQuery,
    refinement: Refinement,
    tenant: Tenant,
    snapshot: Snapshot,
    aggregator: Aggregator = DUCKDB,
) -> Plan:
    """Compile the sums of each video: its id, then the metrics of each window.

    `births` are hours in UTC without a zone; metrics add up.
    """
    hour, video = (Dimension[name].header for name in query.dimensions)
    cells = compile_query(query, tenant, snapshot, aggregator, ordered=False, refinement=refinement).sql
    rows = ", ".join(f"({', '.join(map(quote_text, (name, *_list_limits(born))))})" for name, born in births.items())
    limits = ", ".join(f"until_{hours}" for hours in WINDOWS)
    sums = ", ".join(
        f"SUM(cells.{quote_name(Metric[name].header)}) FILTER (WHERE cells.{quote_name(hour)} < until_{hours})"
        for hours in WINDOWS
        for name in query.metrics
    )
    on = f"cells.{quote_name(video)} = born.id AND cells.{quote_name(hour)} >= born.since"
    # Hours of a report are texts in the order of time.
    sql = f"SELECT born.id, {sums} FROM (VALUES {rows}) AS born(id, since, {limits}) LEFT JOIN ({cells}) AS cells ON {on} GROUP BY 1"  # noqa: S608, E501 - names of the catalog's, quoted texts, and SQL that was compiled
    return Plan(sql, ())


def _list_limits(born: datetime) -> list[str]:
    return [f"{born + timedelta(hours=hours):%Y-%m-%dT%H:00:00Z}" for hours in (0, *WINDOWS)]
