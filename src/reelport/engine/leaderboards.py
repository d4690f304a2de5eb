"""SQL of leaderboards: it wraps the SQL of a report, whose cells their numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from reelport.catalog import Dimension, Metric
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import compile_query
from reelport.engine.mapping import LOOKUPS, PICTURE, TITLE, find_title_cell
from reelport.engine.plan import Plan
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import PLAIN, Refinement
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery
from reelport.sql_quoting import quote_name, quote_text

ENTRIES, MORE_ENTRIES = 10, 100
"""Entries of a leaderboard of a page, and of the one that is longer."""
_NO_ROWS = "SELECT * FROM shown WHERE false"


@dataclass(frozen=True, slots=True)
class Ranking:
    """How rows are ranked: by a metric's value or by its change; how many `rows` are kept.

    None keeps all, and then ranks rows that only the compared days have as well; so does a ranking by change. Rows
    without a value come last in either direction. `search` keeps the rows whose cell or title holds this text, whatever
    its case and accents, and those whose cell is one of `labelled`.
    Without `with_pictures` none are looked up.
    """

    metric: Metric
    rows: int | None
    by_change: bool = False
    lowest_first: bool = False
    search: str = ""
    with_pictures: bool = False
    labelled: tuple[str, ...] = ()


def compile_leaderboard(
    query: ReportQuery,
    compared: tuple[date, date] | None,
    ranking: Ranking,
    tenant: Tenant,
    snapshot: Snapshot,
    aggregator: Aggregator = DUCKDB,
    refinement: Refinement = PLAIN,
) -> Plan:
    """Compile a checked query to a leaderboard of its one dimension.

    The aggregator must aggregate within the statement. The columns are: the cell, its title and the address of a
    picture (NULL where there is none), how many rows the report has and how many that of the compared days has, whether
    the row is in the report, its metrics, and those of the compared days.
    """
    dimension = Dimension[query.dimensions[0]]
    headers = [Metric[name].header for name in query.metrics]
    reports = [query, *([query.within(*compared)] if compared else [])]
    sides = [
        compile_query(each, tenant, snapshot, aggregator, ordered=False, refinement=refinement).sql for each in reports
    ]
    shown, before = (*sides, _NO_ROWS)[:2]
    key = quote_name(dimension.header)
    titles = _select_titles(dimension, snapshot, with_pictures=ranking.with_pictures)
    found = _compile_search(ranking, f"COALESCE(shown.{key}, compared.{key})", titles)
    values = ", ".join(f"shown.{quote_name(name)} AS now_{place}" for place, name in enumerate(headers))
    befores = ", ".join(f"compared.{quote_name(name)} AS before_{place}" for place, name in enumerate(headers))
    order = f"ORDER BY score {'ASC' if ranking.lowest_first else 'DESC'} NULLS LAST, cell NULLS LAST"
    # The title is looked up for the few rows that are kept. A CTE that is named twice is computed once.
    sql = f"""
        WITH
            shown AS MATERIALIZED ({shown}),
            compared AS MATERIALIZED ({before}),
            ranked AS (
                SELECT
                    COALESCE(shown.{key}, compared.{key}) AS cell, {_score(ranking)} AS score,
                    shown.here IS NOT NULL AS is_shown, {values}, {befores}
                FROM (SELECT *, true AS here FROM shown) AS shown
                {"FULL" if ranking.by_change or ranking.rows is None else "LEFT"} JOIN compared
                    ON shown.{key} IS NOT DISTINCT FROM compared.{key}
                {found}
                {order}
                {"" if ranking.rows is None else f"LIMIT {ranking.rows}"}
            )
        SELECT
            cell, {TITLE}, {PICTURE}, (SELECT COUNT(*) FROM shown), (SELECT COUNT(*) FROM compared),
            ranked.* EXCLUDE (cell, score)
        FROM ranked
        LEFT JOIN ({titles}) AS titles ON titles.id = ranked.cell
        {order}
    """  # noqa: S608 - names of the catalog's, and SQL that was compiled
    return Plan(sql, ())


def _compile_search(ranking: Ranking, cell: str, titles: str) -> str:
    text = ranking.search
    if not text:
        return ""
    like, title = (
        f"CONTAINS(STRIP_ACCENTS(LOWER({each})), STRIP_ACCENTS(LOWER({quote_text(text)})))" for each in (cell, TITLE)
    )
    labelled = ", ".join(quote_text(each.lower()) for each in ranking.labelled)
    named = f" OR LOWER({cell}) IN ({labelled})" if labelled else ""
    return f"WHERE {like} OR {cell} IN (SELECT id FROM ({titles}) WHERE {title}){named}"  # noqa: S608 - a quoted text, and SQL that was compiled


def _select_titles(dimension: Dimension, snapshot: Snapshot, *, with_pictures: bool) -> str:
    found = find_title_cell(dimension)
    if found is None:
        return f"SELECT NULL::TEXT AS id, NULL::TEXT AS {TITLE}, NULL::TEXT AS {PICTURE} WHERE false"
    shows_pictures = with_pictures and PICTURE in LOOKUPS[found.lookup].columns
    columns, picture = ([TITLE, PICTURE], PICTURE) if shows_pictures else ([TITLE], "NULL::TEXT")
    lookup = Relations(snapshot).lookup(found.lookup, "found", columns)
    return f"SELECT id, {TITLE}, {picture} AS {PICTURE} FROM {lookup}"  # noqa: S608 - SQL of the mapping's


def _score(ranking: Ranking) -> str:
    """The SQL that rows are ranked by. What adds up is 0 where it is absent."""
    now, before = (f"{side}.{quote_name(ranking.metric.header)}" for side in ("shown", "compared"))
    if not ranking.by_change:
        return now
    return f"COALESCE({now}, 0) - COALESCE({before}, 0)" if ranking.metric.additive else f"{now} - {before}"
