"""Everything that `check` accepts runs: each metric with each dimension, product and filter."""

from __future__ import annotations

from itertools import cycle

import pytest
from tests.cases import thin_out

from reelport.catalog import Dimension, Family, Filter, Metric, Product
from reelport.check import Rules, problems
from reelport.engine.compile import compile_query
from reelport.engine.tenant import Tenant
from reelport.query import ReportQuery

from . import sample
from .sample import END, MINE, START
from .world import World

pytestmark = pytest.mark.long

EVERYTHING = Rules(permissive=True, dimensions=len(Dimension))
CASES = [(family, product) for family in Family for product in Product]
ONCE = 10**9
"""Facts that are worth less are asked at once, as a short report is; `test_pieces.py` has the others."""


def _asked(metrics: list[Metric], product: Product, dimensions: list[Dimension], **filters: str) -> ReportQuery:
    return ReportQuery.of(metrics, dimensions, START, END, filters, product)


def _fits(query: ReportQuery) -> bool:
    return not problems(query, today=sample.LAST, rules=EVERYTHING)


@pytest.mark.parametrize("family", thin_out(Family, 7, nightly=True), ids=str)
def test_what_check_accepts_of_a_family_can_be_planned(world: World, family: Family) -> None:
    """Each dimension alone, and each filter in each product, with one metric, product and choice after the other."""
    metrics, products = cycle(_metrics(family)), cycle(Product)
    queries = [_asked([next(metrics)], next(products), [dimension]) for dimension in Dimension]
    queries += [_asked([next(metrics)], product, [Dimension.CHANNEL_SLUG]) for product in Product]
    choices = {row: cycle(row.choices or ("x", "")) for row in Filter}
    queries += [
        _asked([next(metrics)], product, [], **{row.name: next(each)})
        for product in Product
        for row, each in choices.items()
    ]
    accepted = [query for query in queries if _fits(query)]
    assert len(accepted) >= len(family.dimensions(permissive=True)) + len(Product) * len(family.filters)
    for query in accepted:
        plan = compile_query(query, Tenant(MINE), world.snapshot)
        described = world.plain.execute(f"DESCRIBE {plan.sql}").fetchall()
        assert tuple(column[0] for column in described) == plan.columns
        assert not {"DOUBLE", "FLOAT", "TIMESTAMP", "BOOLEAN"} & {column[1] for column in described}


@pytest.mark.parametrize(("family", "product"), thin_out(CASES, 5, nightly=True), ids=str)
def test_each_family_runs_by_all_its_dimensions(world: World, family: Family, product: Product) -> None:
    """Every metric x dimension x product that check accepts: all metrics by all of their dimensions at once."""
    metrics = _metrics(family)
    for metric in metrics:
        fitting = {dimension for dimension in Dimension if _fits(_asked([metric], product, [dimension]))}
        assert fitting == family.dimensions(permissive=True)
    _run(world, metrics, product, family)


@pytest.mark.parametrize("metric", thin_out(Metric, 10, nightly=True), ids=str)
def test_each_metric_runs_by_all_its_dimensions_alone(world: World, metric: Metric) -> None:
    """Without another one beside it, which would bring tables and columns that it lacks itself."""
    _run(world, [metric], list(Product)[list(Metric).index(metric) % len(Product)], metric.family)


def _metrics(family: Family) -> list[Metric]:
    return [metric for metric in Metric if metric.family is family]


def _run(world: World, metrics: list[Metric], product: Product, family: Family) -> None:
    dimensions = [dimension for dimension in Dimension if dimension in family.dimensions(permissive=True)]
    header, *_ = world.text(_asked(metrics, product, dimensions), MINE, worth=ONCE).splitlines()
    assert header.split(",") == [each.header for each in dimensions] + [each.header for each in metrics]
