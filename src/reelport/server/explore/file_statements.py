"""SQL over a finished report's file: sums by the keys of its chart, totals of its metrics.

Importing this module loads DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reelport.additivity import Added
from reelport.catalog import Metric
from reelport.charts.report_chart import MOST_BARS, MOST_PANELS, ChartPlan, Formula, list_places
from reelport.engine.plan import Plan
from reelport.facts.data_files.duckdb_session import escape_glob
from reelport.query import ReportQuery
from reelport.sql_quoting import quote_name, quote_text


def compile_times(file: Path, plan: ChartPlan) -> Plan:
    """Compile the sums by time of a report."""
    return _sum(file, plan, plan.keys)


def compile_largest(file: Path, plan: ChartPlan) -> Plan:
    """Compile the sums of a report's largest categories.

    Last in each row is how many categories there are.
    """
    key, most = plan.keys[-1], MOST_BARS if plan.time is None else MOST_PANELS
    sums = _sum(file, plan, [key], f"{_value(plan)} AS value").sql
    names = ", ".join(f"#{place}" for place in range(1, 4 + len(plan.sums)))
    order = f"ORDER BY value DESC NULLS LAST, {quote_name(key)} LIMIT {most:d}"
    return Plan(f"SELECT {names}, count(*) OVER () FROM ({sums}) {order}", ())  # noqa: S608 - names are quoted


def compile_panels(file: Path, plan: ChartPlan, categories: Iterable[str]) -> Plan:
    """Compile the sums by time of these categories of a report."""
    chosen = ", ".join(quote_text(category) for category in categories)
    return _sum(file, plan, plan.keys, where=f"WHERE coalesce({quote_name(plan.keys[-1])}, '') IN ({chosen})")


def compile_totals(file: Path, query: ReportQuery, formulas: Sequence[Formula]) -> Plan:
    """Compile a report's number of rows, then the sums that each of these formulas needs."""
    columns = [query.metrics[place] for formula in formulas for place in list_places(formula)]
    sums = "".join(f", sum({_number(name)})" for name in columns)
    return Plan(f"SELECT count(*){sums} FROM {_read(file, query)}", ())  # noqa: S608 - names are quoted


def _sum(file: Path, plan: ChartPlan, keys: Sequence[str], more: str | None = None, where: str = "") -> Plan:
    """Compile rows of keys, a count, the number of one row, and the formula's sums."""
    cells = [f"coalesce({quote_name(key)}, '') AS {quote_name(key)}" for key in keys]
    sums = [f"sum({_number(name)})" for name in plan.sums]
    shown = [*cells, "count(*)", f"any_value({_number(plan.metric)})", *sums, *([more] if more else [])]
    places = ", ".join(str(place + 1) for place in range(len(keys)))
    rows = f"{_read(file, plan.query)} {where} GROUP BY {places}"
    return Plan(f"SELECT {', '.join(shown)} FROM {rows}", ())  # noqa: S608 - names and texts are quoted


def _value(plan: ChartPlan) -> str:
    """Compile what categories are sorted by: the metric's value of all their rows."""
    sums = [f"sum({_number(name)})" for name in plan.sums]
    match plan.formula:
        case None:
            return f"max({_number(plan.metric)})"
        case Added():
            return sums[0]
        case _:
            return f"{sums[0]}::DOUBLE / nullif({' + '.join(sums[1:])}, 0)"


def _read(file: Path, query: ReportQuery) -> str:
    """Compile the rows of a report's file: all cells as text, empty ones as NULL."""
    names = [name.lower() for name in (*query.dimensions, *query.metrics)]
    columns = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in names)
    options = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = ''"
    # A folder's name, as `views=12`, would stand in place of the file's column.
    path = quote_text(escape_glob(str(file.absolute())))
    return f"read_csv({path}, {options}, hive_partitioning = false, columns = {{{columns}}})"


def _number(metric: str) -> str:
    """Compile a metric's cell as a decimal of its digits."""
    digits = Metric[metric.upper()].digits
    return f"CAST({quote_name(metric.lower())} AS DECIMAL(38, {digits:d}))"
