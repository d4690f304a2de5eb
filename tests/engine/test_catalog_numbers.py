"""Every metric, dimension and product against SQL written by hand."""

from __future__ import annotations

from itertools import product

import pytest
from tests.cases import thin_out

from reelport.catalog import Dimension, Family, Metric, Product, Scope
from reelport.engine.tenant import EveryChannel

from .oracle import CELLS, CHANNELS, METRICS, SOURCES, asked, by_hand
from .sample import MINE
from .world import World

WIDEST = max(SOURCES, key=lambda family: len(Family[family].dimensions(permissive=True)))


def dimensions_of(family: str) -> list[str]:
    return sorted(each.name for each in Family[family].dimensions(permissive=True))


SPLITS: list[tuple[str, tuple[str, ...]]] = [(WIDEST, (dimension,)) for dimension in dimensions_of(WIDEST)]
SPLITS += [
    (family, tuple(names[at : at + 2]))
    for family in SOURCES
    if family != WIDEST and (names := dimensions_of(family))
    for at in range(0, len(names), 2)
]


def of_family(family: str) -> list[str]:
    return [metric.name for metric in Metric if metric.family.name == family]


PRODUCTS = [each.name for each in Product]
TOTAL: list[str] = []
EVERY = EveryChannel(frozenset(Scope))
SPLIT = ["MONTH", "VIDEO_TITLE"]


@pytest.mark.parametrize(("family", "product"), thin_out(product(SOURCES, PRODUCTS), 3, nightly=True))
def test_each_metric_is_its_hand_written_number(world: World, family: str, product: str) -> None:
    """Every metric, in every product, in all and by month and title, equals hand-written SQL."""
    for dimensions in (TOTAL, SPLIT):
        _compare(world, family, of_family(family), dimensions, product)


@pytest.mark.parametrize("metric", thin_out(METRICS, 20, nightly=True))
def test_each_metric_alone_is_its_hand_written_number(world: World, metric: str) -> None:
    """Nothing that another metric brings with it is needed: one metric and product after the other."""
    turn = list(METRICS).index(metric)
    _compare(world, Metric[metric].family.name, [metric], (TOTAL, SPLIT)[turn % 2], PRODUCTS[turn // 2 % 4])


def _compare(world: World, family: str, metrics: list[str], dimensions: list[str], product: str) -> None:
    expected = world.by_hand(by_hand(family, metrics, dimensions, product), len(dimensions))
    assert world.report(asked(" ".join(metrics), " ".join(dimensions), product), MINE) == expected
    assert bool(expected) == (SOURCES[family][2][product] != "false")


@pytest.mark.parametrize(("family", "product"), thin_out(product(SOURCES, PRODUCTS), 5, nightly=True))
def test_the_platform_sees_the_rows_of_every_channel(world: World, family: str, product: str) -> None:
    """In each product those rows that have a channel of that role, and the money of every payee."""
    metrics, by = of_family(family), ["VIDEO_OWNER_CHANNEL_SLUG"]
    sql = by_hand(family, metrics, by, product).replace(f"IN {CHANNELS}", "IS NOT NULL")
    found = world.report(asked(" ".join(metrics), " ".join(by), product), EVERY)
    assert found == world.by_hand(sql, len(by))
    assert not found or found != world.report(asked(" ".join(metrics), " ".join(by), product), MINE)


@pytest.mark.parametrize(("family", "dimensions"), thin_out(SPLITS, 15, nightly=True), ids=str)
def test_each_dimension_splits_as_hand_written(world: World, family: str, dimensions: tuple[str, ...]) -> None:
    """Every dimension of every family of one source, over all three roles, equals hand-written SQL.

    Alone where a family has the most of them, and two at a time elsewhere.
    """
    _compare(world, family, of_family(family), list(dimensions), "ALL")


def test_nothing_is_left_without_hand_written_sql() -> None:
    """Metrics and dimensions of the catalog are all written out here, but for those with tests of their own."""
    apart = {metric.name for metric in Metric if metric.family is Family.REVENUE_ADS}
    assert set(METRICS) | apart == {metric.name for metric in Metric}
    times = {dimension.name for dimension in Dimension if dimension.grain}
    assert set(CELLS) | times | {"CHANNEL_SLUG"} == {dimension.name for dimension in Dimension}
