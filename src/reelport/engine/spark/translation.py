"""Translates the SQL of an aggregation from DuckDB's dialect to Spark's.

Sums are made of decimals of 38 digits, so that none of them wraps around or is rounded.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from reelport.engine.aggregation import Aggregation
from reelport.engine.grouping import group_rows
from reelport.engine.mapping import MEASURES
from reelport.engine.relations import Relations
from reelport.engine.trees import DIALECT, WIDEST_DECIMAL, alias, cast, subquery
from reelport.errors import InternalError

_SPARK = "spark"
_FUNCTIONS = {"EPOCH_US": "UNIX_MICROS"}
"""Functions that sqlglot doesn't know, and their names in Spark."""


def spark_sql(aggregation: Aggregation, relations: Relations) -> str:
    """Write the aggregation as Spark's SQL, with its columns and types.

    InternalError for a function whose meaning in Spark nobody has told.
    """
    # Parsed anew: in the tree of the other engine functions are called by its own names, and files are text.
    tree = sqlglot.parse_one(group_rows(aggregation, relations).sql(DIALECT), read=DIALECT)
    _widen_sums(tree)
    _rename_functions(tree)
    columns = (alias(cast(exp.column(name), type_), name) for name, type_ in aggregation.columns.items())
    return exp.select(*columns).from_(subquery(tree, "aggregated"), copy=False).sql(_SPARK)


def _widen_sums(tree: exp.Expr) -> None:
    for found in list(tree.find_all(exp.Sum)):
        measure = MEASURES.get(found.parent.alias) if isinstance(found.parent, exp.Alias) else None
        if measure is None:
            raise InternalError(f"{found.sql(DIALECT)} is no sum of a measure")
        found.set("this", cast(found.this, f"DECIMAL({WIDEST_DECIMAL}, {measure.digits})"))


def _rename_functions(tree: exp.Expr) -> None:
    for found in list(tree.find_all(exp.Anonymous)):
        name = found.name.upper()
        if name not in _FUNCTIONS:
            raise InternalError(f"{name} has no translation to Spark")
        found.set("this", _FUNCTIONS[name])
