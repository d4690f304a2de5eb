"""The possible combination that is nearest to an impossible one: as few names as may be are left out or changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations

from reelport.catalog import Dimension, Filter, Grain, Limit, Metric
from reelport.check import nearest
from reelport.query import ReportQuery


def nearest_valid_query(query: ReportQuery) -> ReportQuery | None:
    """The nearest combination that a service takes; None when not one of its metrics can be told.

    Mistyped names become what was probably meant. Of combinations that keep as many names, the one
    that keeps more metrics, and earlier ones.
    """
    metrics = [Metric[name] for name in _resolve_names(query.metrics, Metric.__members__)]
    dimensions = [Dimension[name] for name in _resolve_names(query.dimensions, Dimension.__members__)]
    filters = _resolve_names((name for name, _ in query.filters), Filter.__members__)
    chosen = max(_combinations(metrics, dimensions, filters), key=_kept, default=None)
    if chosen is None:
        return None
    kept_metrics, kept_dimensions, kept_filters = chosen
    values = dict(query.filters)
    return replace(
        query,
        metrics=tuple(row.name for row in kept_metrics),
        dimensions=tuple(row.name for row in kept_dimensions),
        filters=tuple((name, values.get(name, "")) for name in kept_filters),
    )


_Combination = tuple[list[Metric], list[Dimension], list[str]]


def _combinations(metrics: list[Metric], dimensions: list[Dimension], filters: list[str]) -> Iterator[_Combination]:
    """For each choice of families: the metrics that are theirs, and what goes with every one of these."""
    families = list(dict.fromkeys(metric.family for metric in metrics))
    for count in range(len(families), 0, -1):
        for some in combinations(families, count):
            row = frozenset(Dimension).intersection(*(family.dimensions() for family in some))
            grain = max(family.grain for family in some)
            fitting = dict.fromkeys(_suited(dimension, row, grain) for dimension in dimensions)
            yield (
                [metric for metric in metrics if metric.family in some],
                [each for each in fitting if each is not None][: Limit.DIMENSIONS.default],
                [name for name in filters if all(Filter[name] in family.filters for family in some)],
            )


def _suited(dimension: Dimension, row: frozenset[Dimension], grain: Grain) -> Dimension | None:
    """The dimension, or the finest of time instead of one that is too fine; None when nothing suits."""
    if dimension in row:
        return dimension
    if dimension.grain is None or dimension.grain >= grain:
        return None
    return next((each for each in row if each.grain == grain), None)


def _kept(combination: _Combination) -> tuple[int, int]:
    metrics, dimensions, filters = combination
    return len(metrics) + len(dimensions) + len(filters), len(metrics)


def _resolve_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    there = list(known)
    found = [name if name in there else nearest(name, there) for name in names]
    return list(dict.fromkeys(name for name in found if name is not None))
