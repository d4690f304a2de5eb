"""Every metric, dimension and product against SQL written by hand."""

from __future__ import annotations

import pytest

from reelport.catalog import Dimension, Family, Metric, Product

from .oracle import CELLS, METRICS, SOURCES, asked, by_hand
from .sample import MINE
from .world import World

PAIRS = [
    (family, dimension.name)
    for family in SOURCES
    for dimension in sorted(Family[family].dimensions(permissive=True), key=lambda each: each.name)
]


def of_family(family: str) -> list[str]:
    return [metric.name for metric in Metric if metric.family.name == family]


@pytest.mark.parametrize("product", [product.name for product in Product])
@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_is_its_hand_written_number(world: World, metric: str, product: str) -> None:
    """Every metric, in every product, in all and by month and title, equals hand-written SQL."""
    family = Metric[metric].family.name
    for dimensions in ([], ["MONTH", "VIDEO_TITLE"]):
        expected = world.by_hand(by_hand(family, [metric], dimensions, product), len(dimensions))
        assert world.report(asked(metric, " ".join(dimensions), product), MINE) == expected
        assert bool(expected) == (SOURCES[family][2][product] != "false")


@pytest.mark.parametrize(("family", "dimension"), PAIRS, ids=lambda each: each)
def test_each_dimension_splits_as_hand_written(world: World, family: str, dimension: str) -> None:
    """Every dimension of every family of one source, over all three roles, equals hand-written SQL."""
    metrics = of_family(family)
    expected = world.by_hand(by_hand(family, metrics, [dimension], "ALL"), 1)
    assert world.report(asked(" ".join(metrics), dimension, "ALL"), MINE) == expected
    assert expected


def test_nothing_is_left_without_hand_written_sql() -> None:
    """Metrics and dimensions of the catalog are all written out here, but for those with tests of their own."""
    apart = {metric.name for metric in Metric if metric.family is Family.REVENUE_ADS}
    assert set(METRICS) | apart == {metric.name for metric in Metric}
    times = {dimension.name for dimension in Dimension if dimension.grain}
    assert set(CELLS) | times | {"CHANNEL_SLUG"} == {dimension.name for dimension in Dimension}
