"""Everything that `check` accepts runs: each metric with each dimension, product and filter."""

from __future__ import annotations

from itertools import cycle

import pytest

from reelport.catalog import Dimension, Family, Filter, Metric, Product
from reelport.check import Rules, problems
from reelport.engine.compile import compile_query
from reelport.engine.reader import Reader
from reelport.query import ReportQuery

from . import sample
from .sample import END, MINE, START
from .world import World

EVERYTHING = Rules(permissive=True, dimensions=len(Dimension))
CASES = [(family, product) for family in Family for product in Product]
ONCE = 10**9
"""Facts that are worth less are asked at once, as a short report is; `test_pieces.py` has the others."""


def _asked(metrics: list[Metric], product: Product, dimensions: list[Dimension], **filters: str) -> ReportQuery:
    return ReportQuery.of(metrics, dimensions, START, END, filters, product)


def _fits(query: ReportQuery) -> bool:
    return not problems(query, today=sample.LAST, rules=EVERYTHING)


@pytest.mark.parametrize(("family", "product"), CASES, ids=str)
def test_what_check_accepts_of_a_family_can_be_planned(world: World, family: Family, product: Product) -> None:
    """Each dimension alone and each filter that check accepts, with one metric of the family after the other."""
    metrics = [metric for metric in Metric if metric.family is family]
    turn = cycle(metrics)
    alone = [_asked([next(turn)], product, [dimension]) for dimension in Dimension]
    filters = {row.name: row.choices or ("x", "") for row in Filter}
    narrowed = [
        _asked([next(turn)], product, [], **{name: each}) for name, values in filters.items() for each in values
    ]
    accepted = [query for query in alone + narrowed if _fits(query)]
    assert len(accepted) >= len(family.dimensions(permissive=True)) + len(family.filters)
    for query in accepted:
        plan = compile_query(query, Reader(MINE), world.snapshot)
        described = world.plain.execute(f"DESCRIBE {plan.sql}").fetchall()
        assert tuple(column[0] for column in described) == plan.columns
        assert not {"DOUBLE", "FLOAT", "TIMESTAMP", "BOOLEAN"} & {column[1] for column in described}


@pytest.mark.parametrize("product", Product, ids=str)
@pytest.mark.parametrize("metric", Metric, ids=str)
def test_each_metric_runs_by_all_its_dimensions(world: World, metric: Metric, product: Product) -> None:
    """Every metric x dimension x product that check accepts: a metric by all of its dimensions at once."""
    dimensions = [dimension for dimension in Dimension if _fits(_asked([metric], product, [dimension]))]
    assert set(dimensions) == metric.family.dimensions(permissive=True)
    header, *_ = world.text(_asked([metric], product, dimensions), MINE, worth=ONCE).splitlines()
    assert header == ",".join([*(dimension.header for dimension in dimensions), metric.header])
