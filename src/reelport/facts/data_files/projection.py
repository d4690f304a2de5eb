"""Read declared columns of files of any version; a missing one is null or default.

Reports, compaction, undo and the merge of objects all read through this module.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

from reelport.facts.row_rules import absent_sql, null_sql
from reelport.facts.tables import BATCH, Kind, Table
from reelport.sql_quoting import quote_name

_SOURCE = "_reelport_files"


def has_defaults(table: Table) -> bool:
    """Whether a column of the table has a value where a file has none."""
    return any(column.default is not None for column in table.columns)


def project_sql(table: Table, source: str) -> str:
    """Write the SELECT of all stored columns from a table function that may lack some."""
    return _projection_sql(table).replace(_SOURCE, source)


@cache
def _projection_sql(table: Table) -> str:
    declared = select_no_rows_sql(table)
    return select_stored_sql(table, f"({declared} UNION ALL BY NAME SELECT * FROM {_SOURCE})")  # noqa: S608 - our tables' own names


def select_stored_sql(table: Table, source: str) -> str:
    """Write the SELECT of all stored columns from a relation that has each, be it empty."""
    shown = [
        quote_name(column.name)
        if column.default is None
        else f"coalesce({quote_name(column.name)}, {absent_sql(column)}) AS {quote_name(column.name)}"
        for column in table.columns
    ]
    shown += [quote_name(BATCH)] if table.is_fact else []
    return f"SELECT {', '.join(shown)} FROM {source}"  # noqa: S608 - our tables' own names


@cache
def select_no_rows_sql(table: Table) -> str:
    """Write a SELECT that has every stored column, with its type, and no rows."""
    columns = [f"{null_sql(column)} AS {quote_name(column.name)}" for column in table.columns]
    columns += [f"CAST(NULL AS VARCHAR) AS {quote_name(BATCH)}"] if table.is_fact else []
    return f"SELECT {', '.join(columns)} WHERE false"


def in_days(table: Table, start: date, end: date) -> str:
    """Write the condition of the rows of these days, both included."""
    assert table.time is not None  # noqa: S101 - only facts lie on days
    name, after = quote_name(table.time), end + timedelta(days=1)
    if table.column(table.time).kind is Kind.DAY:
        return f"({name} >= DATE '{start}' AND {name} < DATE '{after}')"
    return f"({name} >= TIMESTAMPTZ '{start} 00:00:00+00' AND {name} < TIMESTAMPTZ '{after} 00:00:00+00')"
