"""The columns of a rollup, and the SQL that makes its rows of facts.

A row of a rollup looks like a row of facts: a column has the name and the meaning that it has there, so that a report's
SQL reads both alike. Measures that the metrics add up are summed; the time is truncated; other columns are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from itertools import chain

from reelport.catalog import Distinct, Grain, Metric, Stock, measures
from reelport.engine.mapping import (
    CELLS,
    MEASURES,
    PAYEE,
    SOURCES,
    WIDEST_DECIMAL,
    Cell,
    ColumnCell,
    LookupCell,
    Measure,
    TimeCell,
)
from reelport.errors import UsageError
from reelport.facts.data_files.projection import project_sql
from reelport.facts.rollups import Rollup
from reelport.facts.tables import TABLES, Kind, Table, find_table
from reelport.sql_quoting import quote_name
from reelport.wording import format_list

LAYOUT = 2
"""The version of how rollups are stored and read; another one makes all of them anew."""
_MICROSECONDS = {Grain.HOUR: 3_600_000_000, Grain.DAY: 86_400_000_000}
_FACTS = "the facts"
"""Stands for the relation of facts where the SQL itself is the rollup's identity."""


def make_rollup(table: str, columns: Iterable[str], grain: Grain = Grain.DAY) -> Rollup:
    """Make the definition of a rollup; UsageError lists what is wrong with it."""
    found, chosen = find_table(table), sorted(set(columns) - tenant_columns(table))
    wrong = []
    if not found.is_fact:
        others = format_list([each.name for each in TABLES.values() if each.is_fact])
        wrong.append(f"{table} has no facts to sum: there are rollups of {others}")
    elif grain is Grain.HOUR and found.column(found.time or "").kind is not Kind.MOMENT:
        wrong.append(f"{table} has days and no hours")
    allowed = groupable_columns(found) if found.is_fact else frozenset(chosen)
    wrong += [f"{table} has no column {name!r} to group by" for name in chosen if name not in allowed]
    if wrong:
        raise UsageError("\n".join(wrong))
    return Rollup(table, grain, tuple(chosen))


def groupable_columns(table: Table) -> frozenset[str]:
    """The columns of a fact table that dimensions are, or are looked up by."""
    names = {name for cell in CELLS.values() for name in list_columns(cell)}
    return frozenset(column.name for column in table.columns if column.name in names)


def list_columns(cell: Cell) -> tuple[str, ...]:
    """The columns of facts, by their usual names, that a cell is taken from or looked up by."""
    match cell:
        case ColumnCell(name) | LookupCell(key=name):
            return (name,)
        case TimeCell():
            return ()


@cache
def tenant_columns(table: str) -> frozenset[str]:
    """The columns that every rollup keeps: by them a row is a tenant's and a source's."""
    sources = [source for source in SOURCES.values() if source.table == table]
    texts = [source.where for source in sources if source.where] + [PAYEE for source in sources if source.paid]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    named = {column.name for column in TABLES[table].columns if column.name in words}
    return frozenset(named.union(*(source.roles.values() for source in sources)))


@cache
def _list_additive(table: str) -> tuple[Measure, ...]:
    rules = (metric.rule for metric in Metric if not isinstance(metric.rule, Distinct | Stock))
    found = (MEASURES[name] for name in sorted({name for rule in rules for name in measures(rule)}))
    return tuple(measure for measure in found if measure.source.table == table and measure.is_summable)


@cache
def summed_columns(table: str) -> frozenset[str]:
    """The columns that additive metrics sum: a rollup's measures."""
    columns = ((measure.column, measure.known) for measure in _list_additive(table))
    return frozenset(filter(None, chain(*columns)))


@cache
def told_apart_columns(table: str) -> frozenset[str]:
    """The columns that must be known for a measure to count.

    Rows with and without them are summed apart, so that the measure is the same over the sums.
    """
    return frozenset(measure.known for measure in _list_additive(table) if measure.known)


def rollup_columns(rollup: Rollup) -> tuple[str, ...]:
    """The columns of a rollup's files: the time, those to group by, the sums."""
    table = TABLES[rollup.table]
    kept = {*rollup.columns, *tenant_columns(rollup.table), *summed_columns(rollup.table), table.time}
    return tuple(column.name for column in table.columns if column.name in kept)


def select_sums(rollup: Rollup, facts: str) -> str:
    """Write the SELECT of the rollup's rows from a relation that has the table's columns."""
    table, sums = TABLES[rollup.table], summed_columns(rollup.table)
    columns = {name: _column_sql(rollup, table, name) for name in rollup_columns(rollup)}
    shown = ", ".join(f"{sql} AS {quote_name(name)}" for name, sql in columns.items())
    groups = [sql for name, sql in columns.items() if name not in sums]
    groups += [f"facts.{quote_name(name)} IS NULL" for name in sorted(told_apart_columns(rollup.table))]
    return f"SELECT {shown} FROM {facts} AS facts GROUP BY {', '.join(groups)}"  # noqa: S608 - our tables' own names


def _column_sql(rollup: Rollup, table: Table, name: str) -> str:
    quoted, kind = f"facts.{quote_name(name)}", table.column(name).kind
    if name in summed_columns(table.name):
        # A count's type stays that of the facts: a sum that doesn't fit raises an error, and its month has no rollup.
        return f"CAST(SUM({quoted}) AS {'BIGINT' if kind is Kind.COUNT else f'DECIMAL({WIDEST_DECIMAL}, 6)'})"
    if name != table.time or kind is not Kind.MOMENT:
        return quoted
    step, since = _MICROSECONDS[rollup.grain], f"EPOCH_US({quoted})"
    # By arithmetic, for truncating a moment with a zone goes by the calendar; rounded down before 1970 too.
    return f"TO_TIMESTAMP(({since} - (({since} % {step}) + {step}) % {step}) // 1000000)"


@cache
def identity_of(rollup: Rollup) -> str:
    """The identity of a rollup's content: the layout, and the SQL that makes its rows.

    So another version of Reelport uses no file that it would have made otherwise.
    """
    sql = select_sums(rollup, f"({project_sql(TABLES[rollup.table], _FACTS)})")
    return hashlib.sha256(f"{LAYOUT} {sql}".encode()).hexdigest()
