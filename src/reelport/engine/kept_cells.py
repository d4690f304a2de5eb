"""Keeps those rows of a report's SQL that have given cells, such as those of one country.

For views alone: the wire has filters of its own, and no report is narrowed by this.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from reelport.catalog import Dimension
from reelport.engine.trees import DIALECT

KeptCells = tuple[tuple[Dimension, str], ...]
"""A cell for each of some dimensions; the empty text stands for the empty cell."""


def keep_cells(sql: str, kept: KeptCells, shown: Collection[Dimension]) -> str:
    """Keep the rows with these cells.

    The report must have all of these dimensions. Columns of those that are not `shown` are left out. A kept dimension
    has one cell in all rows, so that leaving its column out merges no rows: every number stays a cell of the report.
    """
    if not kept:
        return sql
    conditions = " AND ".join(_write_condition(dimension, cell) for dimension, cell in kept)
    hidden = ", ".join(_quote(dimension) for dimension, _ in kept if dimension not in shown)
    columns = f"* EXCLUDE ({hidden})" if hidden else "*"
    return f"SELECT {columns} FROM ({sql}) WHERE {conditions}"  # noqa: S608 - names of the catalog's, a quoted literal, and SQL that was compiled


def _write_condition(dimension: Dimension, cell: str) -> str:
    return (
        f"{_quote(dimension)} = {exp.Literal.string(cell).sql(dialect=DIALECT)}"
        if cell
        else f"{_quote(dimension)} IS NULL"
    )


def _quote(dimension: Dimension) -> str:
    return f'"{dimension.header}"'
