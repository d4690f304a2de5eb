"""The SQL of an aggregation over facts: stacks the rows of the sources and groups them."""

from __future__ import annotations

from sqlglot import exp

from reelport.engine.aggregation import AggregatedMeasure, Aggregation
from reelport.engine.relations import Relations
from reelport.engine.source_rows import select_source_rows
from reelport.engine.trees import alias, number, select, subquery

_STACKED = "facts"


def group_rows(aggregation: Aggregation, relations: Relations) -> exp.Select:
    """Select the aggregation's columns, a row per combination of keys.

    The aggregation must have a source.
    """
    keys = [exp.column(key.header, _STACKED) for key in aggregation.keys]
    values = (alias(_aggregate(measure), measure.name) for measure in aggregation.measures)
    stacked = _stack([select_source_rows(each, relations) for each in aggregation.sources])
    tree = select(*keys, *values).from_(subquery(stacked, _STACKED), copy=False)
    if keys:
        return tree.group_by(*(key.copy() for key in keys), copy=False)
    # Without keys SQL gives one row even over no facts: leave that row out.
    return tree.having(exp.GT(this=exp.Count(this=exp.Star()), expression=number(0)), copy=False)


def _aggregate(measure: AggregatedMeasure) -> exp.Expr:
    column = exp.column(measure.name, _STACKED)
    if measure.is_distinct_count:
        return exp.Count(this=exp.Distinct(expressions=[column]))
    return exp.Sum(this=column)


def _stack(selects: list[exp.Select]) -> exp.Query:
    first, *others = selects
    tree: exp.Query = first
    for other in others:
        tree = exp.Union(this=tree, expression=other, distinct=False)
    return tree
